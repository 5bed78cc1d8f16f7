/**
 * Writes what a package has beside the executable: `scripts/node scripts/package-files.ts ROOT`. Man pages, completions
 * and the config's schema come from the table of commands and the schema, so that they say what the program does.
 */
import fs from 'node:fs';
import path from 'node:path';
import { configJsonSchema } from '../src/config/json-schema.ts';
import { VERSION } from '../src/version.ts';
import { allCommands } from './package/commands.ts';
import { bashCompletion, fishCompletion, zshCompletion } from './package/completions.ts';
import { licenses } from './package/licenses.ts';
import { commandsPage, configPage } from './package/man.ts';

const [root] = process.argv.slice(2);
if (root === undefined) throw new Error('usage: package-files.ts ROOT');
const commands = allCommands();
const schema = configJsonSchema();
const dated = releaseDay();

const files: Record<string, string> = {
  'usr/share/man/man1/litefs-lite.1': commandsPage(commands, VERSION, dated),
  'usr/share/man/man5/litefs-lite.yml.5': configPage(schema, VERSION, dated),
  'usr/share/bash-completion/completions/litefs-lite': bashCompletion(commands),
  'usr/share/zsh/vendor-completions/_litefs-lite': zshCompletion(commands),
  'usr/share/fish/vendor_completions.d/litefs-lite.fish': fishCompletion(commands),
  'usr/share/doc/litefs-lite/LICENSES': licenses(path.dirname(import.meta.dirname)),
  'usr/share/litefs-lite/litefs-lite.schema.json': `${JSON.stringify(schema, null, 2)}\n`,
};
for (const [name, text] of Object.entries(files)) {
  const file = path.join(root, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

/** Of the newest entry in the changelog: the same for each build of a version. */
function releaseDay(): string {
  const changelog = path.resolve(import.meta.dirname, '../debian/changelog');
  const dated = /^ -- .*> {2}(.*)$/m.exec(fs.readFileSync(changelog, 'utf8'))?.[1];
  if (dated === undefined) throw new Error(`${changelog} has no date`);
  return new Date(dated).toISOString().slice(0, 10);
}
