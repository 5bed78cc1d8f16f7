/** The commands as help, man page and completions show them, from the one table in src/cli/cli.ts. */
import type { Command } from 'commander';
import { buildProgram } from '../../src/cli/cli.ts';

export interface CommandInfo {
  /** Words after the program's name; none for the program itself. */
  readonly words: readonly string[];
  readonly description: string;
  /** `[database]`, `<files...>`. */
  readonly args: readonly string[];
  readonly options: readonly OptionInfo[];
  /** What stands behind the help text, as it is printed: examples. */
  readonly more: string;
  /** Names of what may follow. */
  readonly subcommands: readonly string[];
}

export interface OptionInfo {
  readonly long: string;
  /** `<file>`, or '' for a switch. */
  readonly value: string;
  readonly description: string;
  readonly preset: string | undefined;
  readonly choices: readonly string[];
}

/** The program and all commands below it that help shows, each before what is below it. */
export function allCommands(): CommandInfo[] {
  const program = buildProgram(() => async () => {});
  return walk(program, []);
}

function walk(command: Command, words: readonly string[]): CommandInfo[] {
  const below = shown(command).flatMap((each) => walk(each, [...words, each.name()]));
  return [describe(command, words), ...below];
}

/** Those that are for people. */
function shown(command: Command): readonly Command[] {
  const visible = command.createHelp().visibleCommands(command);
  return command.commands.filter((each) => visible.includes(each));
}

function describe(command: Command, words: readonly string[]): CommandInfo {
  let more = '';
  const configured = command.configureOutput();
  command.configureOutput({ ...configured, writeOut: (text) => (more += text) });
  command.outputHelp();
  more = more.startsWith(command.helpInformation())
    ? more.slice(command.helpInformation().length).trim()
    : '';
  return {
    words,
    description: command.description(),
    args: command.registeredArguments.map((argument) => {
      const name = argument.name() + (argument.variadic ? '...' : '');
      return argument.required ? `<${name}>` : `[${name}]`;
    }),
    options: command.options.map((option) => ({
      long: option.long ?? option.flags,
      value: /<.*>/.exec(option.flags)?.[0] ?? '',
      description: option.description,
      preset: typeof option.defaultValue === 'string' ? option.defaultValue : undefined,
      choices: option.argChoices ?? [],
    })),
    more,
    subcommands: shown(command).map((each) => each.name()),
  };
}
