/** `litefs-lite doctor`: the file that the config has the secret in. */
import fs from 'node:fs';
import type { Config } from '../../config/config.ts';
import { isCredential, withSecretFile } from '../../config/secrets.ts';
import { LiteFsError } from '../../errors.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** The config with its secret, as far as that can be had, and what was found on the way. */
export function checkSecretFile(config: Config): { config: Config; findings: Finding[] } {
  const file = config.replication.secretFile;
  if (file === undefined) return { config, findings: [] };
  try {
    const whole = withSecretFile(config);
    return { config: whole, findings: [ok('secret-file', `${file} can be read, by few enough`)] };
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    // systemd takes a credential away when the service stops: then nothing is wrong with it.
    const isAway = isCredential(file) && !fs.existsSync(file);
    const say = isAway ? warn : fail;
    const hint = error.hint ?? 'It holds one line; run this as root.';
    return { config, findings: [say('secret-file', error.message, hint)] };
  }
}
