/**
 * What is in the daemon's environment for the daemon alone. It is taken out at the start, so that no program that the daemon
 * runs inherits it: applications, hooks.
 */

/** As the documents have the config take the secret, and what systemd says to the process that it has started. */
const OWN = new Set([
  'LITEFS_SECRET',
  'LITEFS_STATUS_TOKEN',
  'CREDENTIALS_DIRECTORY',
  'LISTEN_FDNAMES',
  'LISTEN_FDS',
  'LISTEN_PID',
  'NOTIFY_SOCKET',
  'WATCHDOG_PID',
  'WATCHDOG_USEC',
]);

/** `secrets`: variables with one of these as their value go too, whatever the config calls them. */
export function forgetOwn(
  environment: NodeJS.ProcessEnv,
  secrets: readonly (string | undefined)[],
): void {
  for (const [name, value] of Object.entries(environment)) {
    if (OWN.has(name) || (value !== undefined && secrets.includes(value))) delete environment[name];
  }
}
