/** Config files: those that are shipped and made, with lines, keys and values changed, and YAML of any other form. */
import assert from 'node:assert/strict';
import { initialConfig, SHIPPED_CONFIG } from '../../../../src/config/initial.ts';
import { configJsonSchema } from '../../../../src/config/json-schema.ts';
import { parseConfig } from '../../../../src/config/load.ts';
import type { SeededRandom } from '../../random.ts';
import type { Grammar } from '../grammar.ts';
import { edge, mutateText, oddText } from '../mutate.ts';

const FULL = `data: {dir: /srv/data, compress: true, retention: 10m, retention-monitor-interval: 1m}
fuse: {dir: /srv/mount, allow-other: true}
lease: {type: static, hostname: box1, advertise-url: "http://10.0.0.1:20202", candidate: \${IS_PRIMARY == "yes"}}
replication: {addr: ":20204", primary: box1:20204, secret: abcdefghijklmnopqrstuvwxyz0123456789}
http: {addr: ":20202"}
proxy:
  addr: ":8080"
  target: localhost:3000
  db: app.db
  passthrough: ["*.png", "/static/*"]
  trusted-proxies: [10.0.0.0/8, "::1"]
snapshots: {dir: /srv/archive, schedule: "0 3 * * *", increments: 5m, keep: {within: 2d, daily: 7}}
exec:
  - cmd: "app --port \${PORT:-3000}"
    if-candidate: true
log: {format: text}
`;

/** What YAML has beside keys and values. */
// biome-ignore-start lint/suspicious/noTemplateCurlyInString: these are the braces of config files
const ODDITIES = [
  '&a [*a, *a]',
  '*none',
  '!!binary aGk=',
  '!!set {a, b}',
  '!!timestamp 2001-01-01',
  '? complex : key',
  '<<: *a',
  '"\\x00\\e\\u202e"',
  "'",
  '"',
  '|+\n  text',
  '>-\n  text',
  '---',
  '...',
  '%YAML 9.9',
  '\t',
  '.inf',
  '-.nan',
  '0x7fffffffffffffff',
  '1e999',
  '0o777',
  '~',
  '[]',
  '{}',
  '- - - - -',
  '{a: {a: {a: {}}}}',
  'true',
  '12:30:45',
  '${HOME}',
  '${',
  '$${',
  '${A == B}',
  '${IS_PRIMARY',
  '$NONE',
  '${X:-${Y}}',
  '\u0085',
  '\ufeff',
];
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: these are the braces of config files

const ENV = { IS_PRIMARY: 'yes', PORT: '3000', HOME: '/root', EMPTY: '', ODD: 'a: [b\n- c' };

function keysOf(schema: object): string[] {
  const keys = new Set<string>();
  JSON.stringify(schema, (key, value) => {
    if (key === 'properties') for (const name of Object.keys(value)) keys.add(name);
    return value;
  });
  return [...keys, 'constructor', '__proto__', 'toString', 'hasOwnProperty'];
}

function value(random: SeededRandom): string {
  switch (random.below(6)) {
    case 0:
      return `${edge(random)}`;
    case 1:
      return `${edge(random)}${random.pick(['ms', 's', 'm', 'h', 'd', 'KB', 'MiB', 'x', '-', '.5s'])}`;
    case 2:
      return JSON.stringify(oddText(random));
    case 3:
      return random.pick(ODDITIES);
    case 4:
      return random.pick([
        ':20202',
        '[::]:1',
        '[::1',
        'host:99999',
        'http://a b',
        'http://[',
        '10.0.0.0/33',
        '::/129',
      ]);
    default:
      return oddText(random).replaceAll('\n', ' ');
  }
}

/** Lines taken away, doubled, moved in or out, or with another value. */
function changedLines(random: SeededRandom, text: string, keys: readonly string[]): string {
  const lines = text.split('\n');
  for (let count = 1 + random.below(4); count > 0; count--) {
    const at = random.below(lines.length);
    const line = lines[at] ?? '';
    const blanks = ' '.repeat(random.below(5));
    switch (random.below(6)) {
      case 0:
        lines.splice(at, 1 + random.below(3));
        break;
      case 1:
        lines.splice(at, 0, line);
        break;
      case 2:
        lines[at] = `${blanks}${line.trim()}`;
        break;
      case 3:
        lines.splice(at, 0, `${blanks}${random.pick(keys)}: ${value(random)}`);
        break;
      case 4:
        lines[at] = line.replace(
          /(:\s*)[^:{}]*([,}]|$)/,
          (_, colon, end) => `${colon}${value(random)}${end}`,
        );
        break;
      default:
        lines[at] = line.replace(/[a-z-]+(?=:)/, () => random.pick(keys));
    }
  }
  return lines.join('\n');
}

export const config: Grammar = {
  name: 'config',
  reads: 'config files',
  codes: ['CONFIG'],
  // A tree of nodes with the place of each, a schema, and sentences: some thousand times the text.
  bounds: { ms: 2000, perByte: 20_000, anyway: 32 << 20 },
  isStateful: false,
  begin() {
    const keys = keysOf(configJsonSchema());
    const made = initialConfig({
      role: 'replica',
      host: '10.0.0.1',
      httpPort: 20202,
      replicationPort: 20214,
      secret: 'abcdefghijklmnopqrstuvwxyz0123456789',
    });
    const texts = [SHIPPED_CONFIG, made, FULL];
    const at = (expandEnv: boolean) => ({ env: ENV, cwd: '/somewhere', expandEnv });
    assert(parseConfig(FULL, 'litefs.yml', at(true)).config);
    return {
      make(random) {
        let text = random.pick(texts);
        if (random.below(8) > 0) text = changedLines(random, text, keys);
        if (random.below(3) === 0) text = mutateText(random, text, texts);
        const expandEnv = random.below(4) > 0;
        return {
          bytes: text.length,
          take() {
            const { config: parsed } = parseConfig(text, 'litefs.yml', at(expandEnv));
            assert(parsed.http.addr.port >= 0 && parsed.http.addr.port <= 65535);
            assert(Object.getPrototypeOf(parsed) === Object.prototype);
            assert(!('polluted' in {}));
            return 'value';
          },
        };
      },
      end() {},
    };
  },
};
