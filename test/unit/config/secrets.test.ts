/** The file that holds the secret: what is taken from it, and which files are refused, always without a word of their text. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { checkSecretFiles } from '../../../src/cli/doctor/secret.ts';
import { loadConfig, loadConfigAlone } from '../../../src/config/load.ts';
import { readSecretFile } from '../../../src/config/secrets.ts';
import { LiteFsError } from '../../../src/errors.ts';
import { withFolder } from '../os/folder.ts';
import { problems } from './parse.ts';

const SECRET = '0123456789abcdef0123456789abcdef';
const NOBODY = 65534;

/** A secret file with this text, of this mode. */
function secretFile(folder: string, text: string | Buffer, mode = 0o400): string {
  const file = path.join(folder, 'secret');
  fs.rmSync(file, { force: true });
  fs.writeFileSync(file, text, { mode });
  fs.chmodSync(file, mode);
  return file;
}

/** Why a file is not taken: the message and what to do. */
function refusal(file: string): string {
  try {
    readSecretFile('replication.secret-file', file);
  } catch (error) {
    assert(error instanceof LiteFsError, `${error}`);
    assert.equal(error.code, 'CONFIG');
    const said = `${error.message}\n${error.hint}`;
    assert.match(said, /^replication\.secret-file: /);
    assert(!said.includes(SECRET.slice(0, 8)), 'no part of it is shown');
    return said;
  }
  return 'taken';
}

describe('the secret of a file', () => {
  test('is its line, with or without a newline behind it', () =>
    withFolder((folder) => {
      for (const text of [SECRET, `${SECRET}\n`]) {
        const file = secretFile(folder, text);
        assert.equal(readSecretFile('x', file), SECRET);
      }
      const words = 'pässword of many words, 東京';
      assert.equal(readSecretFile('x', secretFile(folder, `${words}\n`)), words);
    }));

  for (const [what, text, why] of [
    ['nothing', '', /is empty/],
    ['an empty line', '\n', /is empty/],
    ['two lines', `${SECRET}\n${SECRET}\n`, /more than one line/],
    ['an empty line more', `${SECRET}\n\n`, /more than one line/],
    ['a line of Windows', `${SECRET}\r\n`, /control character/],
    ['a blank before it', ` ${SECRET}\n`, /blank at an end/],
    ['a blank behind it', `${SECRET} \n`, /blank at an end/],
    ['a byte order mark', `\ufeff${SECRET}\n`, /blank at an end/],
    ['a NUL', `${SECRET}\0`, /control character/],
    ['what is no text', Buffer.from([0x80, ...Buffer.from(SECRET)]), /is not text/],
    ['a short one', `${SECRET.slice(0, 21)}\n`, /can be guessed/],
    ['one of few letters', 'abababababababababababababababab', /can be guessed/],
    ['a page', `${SECRET.repeat(129)}\n`, /larger than 4 KiB/],
  ] as const) {
    test(`is not ${what}`, () =>
      withFolder((folder) => {
        const said = refusal(secretFile(folder, text));
        assert.match(said, why);
        assert.match(said, /\n.*openssl rand -hex 32$/);
      }));
  }

  test('is one only when others can neither read nor change it', () =>
    withFolder((folder) => {
      for (const mode of [0o400, 0o600, 0o440, 0o640]) {
        assert.equal(refusal(secretFile(folder, SECRET, mode)), 'taken');
      }
      for (const mode of [0o444, 0o604, 0o602]) {
        const said = refusal(secretFile(folder, SECRET, mode));
        assert.match(said, /every user of this machine.*\nRun: chmod o-rwx \/.*secret$/);
      }
      const file = secretFile(folder, SECRET, 0o600);
      fs.chownSync(file, NOBODY, 0);
      assert.match(refusal(file), /belongs to user 65534.*\nRun: chown root \/.*secret$/);
    }));

  test('is in a regular file, which a link may lead to', () =>
    withFolder((folder) => {
      const file = secretFile(folder, SECRET);
      const link = path.join(folder, 'link');
      fs.symlinkSync(file, link);
      assert.equal(refusal(link), 'taken');
      fs.chmodSync(file, 0o444);
      assert.match(refusal(link), /every user/);

      const fifo = path.join(folder, 'fifo');
      execFileSync('mkfifo', ['-m', '0600', fifo]);
      for (const other of [fifo, folder, '/dev/zero']) {
        assert.match(refusal(other), /is not a regular file/);
      }
    }));

  test('that is not there is named, with how to make one, or who does', () =>
    withFolder((folder) => {
      const absent = path.join(folder, 'secret');
      const said = refusal(absent);
      assert(said.includes(`'${absent}'`));
      assert(said.endsWith(`(umask 077; openssl rand -hex 32 > ${absent})`));
      const credential = refusal('/run/credentials/none.service/secret');
      assert.match(credential, /systemd .*LoadCredential=.*systemctl restart litefs-lite$/);
    }));
});

describe('a config that names the file', () => {
  const withConfig = (text: string, body: (file: string) => void) =>
    withFolder((folder) => {
      const file = path.join(folder, 'litefs.yml');
      fs.writeFileSync(file, text.replaceAll('FOLDER', folder), { mode: 0o644 });
      body(file);
    });
  const from = { env: {}, cwd: '/', expandEnv: true };
  const NAMED = 'replication: {secret-file: "FOLDER/secret"}';

  test('has its secret, and may be read by all', () =>
    withConfig(NAMED, (file) => {
      secretFile(path.dirname(file), `${SECRET}\n`);
      assert.equal(loadConfig(file, from).config.replication.secret, SECRET);
    }));

  test('is wrong without it, but not for what needs no secret', () =>
    withConfig(NAMED, (file) => {
      assert.throws(() => loadConfig(file, from), { code: 'CONFIG' });
      const { config } = loadConfigAlone(file, from);
      assert.equal(config.replication.secret, undefined);
      const [finding] = checkSecretFiles(config).findings;
      assert.deepEqual([finding.check, finding.verdict], ['secret-file', 'fail']);
    }));

  test('is no failure for the doctor while systemd has the credential away', () => {
    const secret = '/run/credentials/none.service/secret';
    return withConfig(`replication: {secret-file: "${secret}"}`, (file) => {
      const [finding] = checkSecretFiles(loadConfigAlone(file, from).config).findings;
      assert.equal(finding.verdict, 'warn');
      assert.match(finding.hint ?? '', /LoadCredential=/);
    });
  });

  test('has no secret beside it, and says where it is from the root', () => {
    const both = `replication:\n  secret: ${SECRET}\n  secret-file: /etc/s`;
    assert.deepEqual(problems(both), [
      'f.yml:3:16: replication.secret-file says the same as the key without "-file": remove one of the two',
    ]);
    assert.deepEqual(problems('replication: {secret-file: secret}'), [
      'f.yml:1:28: replication.secret-file is not a path from the root: write "/etc/…"',
    ]);
  });

  test('takes what systemd says of the folder from the environment', () =>
    withConfig(`replication: {secret-file: "\${CREDENTIALS_DIRECTORY}/secret"}`, (file) => {
      secretFile(path.dirname(file), SECRET);
      const env = { CREDENTIALS_DIRECTORY: path.dirname(file) };
      assert.equal(loadConfig(file, { ...from, env }).config.replication.secret, SECRET);
    }));

  test('has another token for the status, as strong and as well kept', () => {
    const token = 'fedcba9876543210fedcba9876543210';
    const own = `replication: {secret: ${SECRET}}\n`;
    assert.deepEqual(problems(`${own}http: {status-token: ${token}}`), []);
    for (const [http, why] of [
      [`status-token: ${SECRET}`, /http\.status-token is the same as replication\.secret/],
      ['status-token: short', /http\.status-token can be guessed/],
      [`status-token: "${token} x"`, /http\.status-token has other characters than HTTP can send/],
      [`status-token: ${token}, status-token-file: /etc/t`, /status-token-file says the same/],
      ['status-token-file: t', /status-token-file is not a path from the root/],
    ] as const) {
      const found = problems(`${own}http: {${http}}`);
      assert.equal(found.length, 1, found.join('\n'));
      assert.match(found[0], why);
    }
    return withConfig(`http: {status-token: ${token}}`, (file) => {
      assert.throws(() => loadConfig(file, from), {
        message: `${file} has http.status-token in it, and every user of this machine may read it`,
        hint: `Run: chmod o-rwx ${file}`,
      });
    });
  });

  test('has the token of a file, which is not the secret', () =>
    withConfig(`${NAMED}\nhttp: {status-token-file: "FOLDER/token"}`, (file) => {
      const folder = path.dirname(file);
      secretFile(folder, SECRET);
      const token = path.join(folder, 'token');
      const write = (text: string) => {
        fs.rmSync(token, { force: true });
        fs.writeFileSync(token, text, { mode: 0o400 });
      };
      write('fedcba9876543210fedcba9876543210\n');
      const { http, replication } = loadConfig(file, from).config;
      assert.equal(http.statusToken, 'fedcba9876543210fedcba9876543210');
      assert.equal(replication.secret, SECRET);
      write(SECRET);
      assert.throws(() => loadConfig(file, from), {
        message: /is the same as replication\.secret/,
      });
      write('fedcba9876543210 fedcba9876543210');
      assert.throws(() => loadConfig(file, from), { message: /characters than HTTP can send/ });
    }));
});
