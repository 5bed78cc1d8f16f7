/** argv → command → exit status. */
import { runCli } from './cli/cli.ts';

// Not awaited: the executable's entry is CommonJS, which cannot.
runCli(process.argv.slice(2)).then((exitStatus) => {
  process.exitCode = exitStatus;
});
