/** Completions for bash, zsh and fish. */
import type { CommandInfo } from './commands.ts';

const NAME = 'litefs-lite';

/** What may follow these words: a subcommand or a flag. Files are offered where an argument or a flag's value is one. */
function offered({ subcommands, options }: CommandInfo): string[] {
  return [...subcommands, ...options.map(({ long }) => long), '--help'];
}

export function bashCompletion(commands: readonly CommandInfo[]): string {
  const cases = commands.map((command) => {
    const words = [NAME, ...command.words].join(' ');
    return `    '${words}') offered='${offered(command).join(' ')}' ;;`;
  });
  return `# bash completion for ${NAME}
_litefs_lite() {
  local current=\${COMP_WORDS[COMP_CWORD]} said=${NAME} offered='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && continue
    case "$said $word" in
${commands
  .filter(({ words }) => words.length > 0)
  .map(({ words }) => `      '${[NAME, ...words].join(' ')}') said="$said $word" ;;`)
  .join('\n')}
    esac
  done
  case $said in
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$current")
}
complete -o default -F _litefs_lite ${NAME}
`;
}

export function zshCompletion(commands: readonly CommandInfo[]): string {
  const cases = commands.map((command) => {
    const below = commands.filter(
      ({ words }) =>
        words.length === command.words.length + 1 &&
        command.words.every((word, index) => words[index] === word),
    );
    const all = [
      ...below.map(({ words, description }) => [words.at(-1) ?? '', description]),
      ...command.options.map(({ long, description }) => [long, description]),
    ];
    const items = all.map(([word, about]) => `'${quoted(`${word}:${about}`)}'`).join(' ');
    return `    '${[NAME, ...command.words].join(' ')}') offered=(${items}) ;;`;
  });
  return `#compdef ${NAME}
local said=${NAME} word
local -a offered
for word in \${words[2,CURRENT-1]}; do
  [[ $word == -* ]] && continue
  case "$said $word" in
${commands
  .filter(({ words }) => words.length > 0)
  .map(({ words }) => `    '${[NAME, ...words].join(' ')}') said="$said $word" ;;`)
  .join('\n')}
  esac
done
case $said in
${cases.join('\n')}
esac
_describe -t commands ${NAME} offered
_files
`;
}

export function fishCompletion(commands: readonly CommandInfo[]): string {
  const lines = commands.flatMap((command) => {
    const { words } = command;
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    const lines: string[] = [];
    for (const each of commands) {
      const isBelow =
        each.words.length === words.length + 1 &&
        words.every((word, index) => each.words[index] === word);
      if (!isBelow) continue;
      const when = words.length === 0 ? '__fish_use_subcommand' : seen;
      lines.push(
        `complete -c ${NAME} -n '${when}' -f -a ${each.words.at(-1)} -d '${quoted(each.description)}'`,
      );
    }
    for (const { long, value, description } of command.options) {
      const needs = value === '' ? '' : ' -r';
      lines.push(
        `complete -c ${NAME} -n '${seen}' -l ${long.slice(2)}${needs} -d '${quoted(description)}'`,
      );
    }
    return lines;
  });
  return `# fish completion for ${NAME}\n${lines.join('\n')}\n`;
}

/** For a text between single quotes: typographic ones in the place of those that would end it. */
function quoted(text: string): string {
  return text.replaceAll("'", '’');
}
