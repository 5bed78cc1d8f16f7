/** Configs for tests, from text, in a working directory that need not exist. */
import assert from 'node:assert/strict';
import type { Environment } from '../../../src/config/expand.ts';
import { type LoadedConfig, parseConfig } from '../../../src/config/load.ts';
import { LiteFsError } from '../../../src/errors.ts';

export const CWD = '/srv';

export function parse(text: string, env: Environment = {}, expandEnv = true): LoadedConfig {
  return parseConfig(text, 'f.yml', { env, cwd: CWD, expandEnv });
}

/** What is wrong with a text, one line for each problem. */
export function problems(text: string, env: Environment = {}): string[] {
  try {
    parse(text, env);
  } catch (error) {
    assert(error instanceof LiteFsError, `${error}`);
    assert.equal(error.code, 'CONFIG');
    return error.message.split('\n');
  }
  return [];
}
