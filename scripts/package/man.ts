/** Man pages, in man(7)'s macros. */
import type { JsonSchema } from '../../src/config/json-schema.ts';
import { ERROR_CODES } from '../../src/errors.ts';
import type { CommandInfo, OptionInfo } from './commands.ts';

/** litefs-lite(1). `dated`: the day of the release, as 2026-11-24. */
export function commandsPage(
  commands: readonly CommandInfo[],
  version: string,
  dated: string,
): string {
  const [program, ...others] = commands;
  const leaves = others.filter(({ subcommands }) => subcommands.length === 0);
  return page('litefs-lite', 1, 'User Commands', version, dated, [
    '.SH NAME',
    `litefs-lite \\- ${roff(program.description)}`,
    '.SH SYNOPSIS',
    ...leaves.map(
      (command) => `.B litefs-lite ${roff(command.words.join(' '))}\n${usage(command)}\n.br`,
    ),
    '.SH DESCRIPTION',
    'A daemon mounts a directory through FUSE. Applications keep their SQLite databases there, unchanged. On one node,',
    'the primary, they write; every commit is sent to the other nodes, where the same databases are open for reading.',
    '.PP',
    'Flags may be written with one dash or two.',
    '.SH COMMANDS',
    ...leaves.flatMap(commandLines),
    '.SH EXIT STATUS',
    'As in sysexits(3): 0 is success, and of a node that ran an application the exit status of that.',
    ...exitStatuses(),
    '.SH ENVIRONMENT',
    '.TP',
    '.B LITEFS_SECRET',
    'What is shown to a node elsewhere where it wants a secret: its',
    '.IR replication.secret .\nA node of this machine is asked at its socket, which wants none.',
    '.SH FILES',
    '.TP',
    '.I /etc/litefs-lite.yml',
    'The configuration, see litefs\\-lite.yml(5). Without it',
    '.IR ./litefs.yml ,\n.IR ~/litefs.yml\nand\n.I /etc/litefs.yml\nare looked for.',
    '.TP',
    '.I /var/lib/litefs',
    'Databases (in',
    '.IR tree )\nand the log of transactions, unless the configuration says otherwise.',
    '.TP',
    '.I /run/litefs\\-lite/20202.sock',
    'The socket of the node, for root and members of the group',
    '.IR litefs\\-lite ,\nunless the configuration says otherwise; the number is the port of its API.',
    '.TP',
    '.I /litefs',
    'Where applications open databases, unless the configuration says otherwise.',
    '.SH SEE ALSO',
    'litefs\\-lite.yml(5), sqlite3(1), mount(8)',
  ]);
}

/** litefs-lite.yml(5). */
export function configPage(schema: JsonSchema, version: string, dated: string): string {
  return page('litefs-lite.yml', 5, 'File Formats', version, dated, [
    '.SH NAME',
    'litefs\\-lite.yml \\- configuration of litefs\\-lite',
    '.SH DESCRIPTION',
    'YAML. Every field of the litefs.yml of LiteFS is accepted; one that has no effect here is said so at start.',
    'Unknown keys are errors.',
    '.PP',
    `$VAR and \${VAR} are expanded from the environment, an undefined one is an error. \${VAR:\\-default} has a default,`,
    `\${VAR == "x"} and \${VAR != "x"} give true or false, $$ is a dollar sign.`,
    '.PP',
    '.B litefs\\-lite config check',
    'says what a file means, or where it is wrong.',
    '.SH FIELDS',
    ...fields(schema, ''),
    '.SH EXAMPLE',
    '.nf',
    ...[
      'lease:',
      '  type: static',
      '  candidate: true               # on exactly one node',
      '  advertise-url: "http://10.0.0.1:20202"',
      'replication:',
      `  secret: "\${LITEFS_SECRET}"`,
    ].map(roff),
    '.fi',
    '.SH SEE ALSO',
    'litefs\\-lite(1)',
  ]);
}

function page(
  name: string,
  section: number,
  manual: string,
  version: string,
  dated: string,
  lines: readonly string[],
): string {
  const title = `.TH ${roff(name).toUpperCase()} ${section} "${dated}" "litefs\\-lite ${version}" "${manual}"`;
  return `${[title, ...lines].join('\n')}\n`;
}

function usage({ options, args }: CommandInfo): string {
  const flags = options.map(({ long, value }) => `[${roff([long, value].join(' ').trim())}]`);
  return [...flags, ...args.map(roff)].join(' ');
}

function commandLines(command: CommandInfo): string[] {
  return [
    `.SS litefs\\-lite ${roff([...command.words, ...command.args].join(' '))}`,
    `${roff(sentence(command.description))}`,
    ...command.options.flatMap(optionLines),
    ...(command.more === '' ? [] : ['.PP', '.nf', ...command.more.split('\n').map(roff), '.fi']),
  ];
}

function optionLines({ long, value, description, preset }: OptionInfo): string[] {
  const about = preset === undefined ? description : `${description} (${preset})`;
  return ['.TP', `.B ${roff([long, value].join(' ').trim())}`, roff(sentence(about))];
}

function exitStatuses(): string[] {
  const byStatus = new Map<number, string[]>();
  for (const [code, { exitStatus }] of Object.entries(ERROR_CODES)) {
    byStatus.set(exitStatus, [...(byStatus.get(exitStatus) ?? []), code]);
  }
  return [...byStatus]
    .sort(([a], [b]) => a - b)
    .flatMap(([status, codes]) => ['.TP', `.B ${status}`, roff(codes.join(', '))]);
}

function fields(schema: JsonSchema, prefix: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const full = prefix + name;
    const lines = ['.TP', `.B ${roff(full)}`, roff(field.description ?? 'See below.')];
    const preset = field.default;
    if (field.properties) return [...lines, ...fields(field, `${full}.`)];
    const items = itemsOf(field);
    if (items) return [...lines, ...fields(items, `${full}[].`)];
    if (preset !== undefined && `${preset}` !== '') {
      lines.push(roff(`Default: ${typeof preset === 'string' ? preset : JSON.stringify(preset)}.`));
    }
    return lines;
  });
}

/** What a list has groups of keys of, as exec. */
function itemsOf({ anyOf = [] }: JsonSchema): JsonSchema | undefined {
  const lists = anyOf as { items?: JsonSchema }[];
  return lists.find(({ items }) => items?.properties)?.items;
}

function sentence(text: string): string {
  const first = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** Text with what roff would take for its own made plain. */
function roff(text: string): string {
  const plain = text.replaceAll('\\', '\\e').replaceAll('-', '\\-');
  return /^[.']/.test(plain) ? `\\&${plain}` : plain;
}
