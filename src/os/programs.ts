/** Programs by their names, as a shell finds them. */
import fs from 'node:fs';
import path from 'node:path';

/** The file that `name` means; undefined when no folder of `searchPath` (as $PATH) has one that may be run. */
export function programIn(searchPath: string, name: string): string | undefined {
  if (name.includes('/')) return isProgram(name) ? name : undefined;
  return searchPath
    .split(':')
    .map((folder) => path.join(folder, name))
    .find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
