/** `litefs-lite doctor`: the files that the config has secrets in. */
import fs from 'node:fs';
import type { Config } from '../../config/config.ts';
import { isCredential, withSecretFiles } from '../../config/secrets.ts';
import { LiteFsError } from '../../errors.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** The config with what is in its secret files, as far as that can be had, and what was found on the way. */
export function checkSecretFiles(config: Config): { config: Config; findings: Finding[] } {
  const named = [config.replication.secretFile, config.http.statusTokenFile];
  const files = named.filter((file) => file !== undefined);
  if (files.length === 0) return { config, findings: [] };
  try {
    const whole = withSecretFiles(config);
    const text = `${files.join(', ')} can be read, and not by others`;
    return { config: whole, findings: [ok('secret-file', text)] };
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    // systemd takes a credential away when the service stops: then nothing is wrong with it.
    const isAway = files.some((file) => isCredential(file) && !fs.existsSync(file));
    const say = isAway ? warn : fail;
    const hint = error.hint ?? 'It holds one line; run this as root.';
    return { config, findings: [say('secret-file', error.message, hint)] };
  }
}
