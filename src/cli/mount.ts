/** `litefs-lite mount`: runs a node in the foreground. */
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { runNode } from '../daemon/node.ts';
import { errorText, LiteFsError } from '../errors.ts';
import { createLogger, type Logger } from '../log.ts';

interface MountFlags {
  readonly config?: string;
  readonly expandEnv: boolean;
  readonly skipUnmount?: boolean;
  readonly debug?: boolean;
  readonly 'fuse.debug'?: boolean;
}

/** Resolves with the exit status when the node has stopped. */
export async function mount(command: readonly string[], flags: MountFlags): Promise<number> {
  const loaded = loadConfig(flags.config, {
    env: process.env,
    cwd: process.cwd(),
    expandEnv: flags.expandEnv,
  });
  const config = withFlags(loaded.config, flags);
  const log = createLogger(config.log);
  for (const warning of loaded.warnings) log.warn({ file: loaded.file }, warning);
  try {
    return await runNode(config, {
      log,
      command: command.length > 0 ? command : undefined,
      skipUnmount: flags.skipUnmount ?? false,
    });
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    log.fatal({ code: error.code }, error.hint ? `${error.message}. ${error.hint}` : error.message);
    if (!config.exitOnError) await stayUp(log);
    return error.exitStatus;
  }
}

function withFlags(config: Config, flags: MountFlags): Config {
  return {
    ...config,
    fuse: { ...config.fuse, debug: config.fuse.debug || (flags['fuse.debug'] ?? false) },
    log: { ...config.log, debug: config.log.debug || (flags.debug ?? false) },
  };
}

/** exit-on-error: false, so that an administrator can look into the container. */
async function stayUp(log: Logger): Promise<void> {
  log.info('staying up, as exit-on-error is false; stop me with a signal');
  const keepAlive = setInterval(() => {}, 2 ** 30);
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  clearInterval(keepAlive);
  log.info(`stopped by ${errorText(signal)}`);
}
