/**
 * What completion and manual say of the commands, taken from the commander program itself. What kind
 * of thing a value is, its name between `<` and `>` says, the same word for the same kind everywhere.
 */
import type { Argument, Command, Option } from 'commander';
import { DEFAULT_COMMAND } from './mount.js';

/** What a shell completes a value with. */
type ValueKind =
  /** One of the choices. */
  | 'choice'
  /** Several of the choices, separated by commas. */
  | 'list'
  /** An image, or any other file where there is none. */
  | 'image'
  | 'file'
  | 'folder'
  /** Nothing that a shell could know. */
  | 'word';

/** The value of an option, or an argument. */
export interface ValueFacts {
  readonly name: string;
  /** Undefined for a name that is not in the table below. */
  readonly kind: ValueKind | undefined;
  readonly choices: readonly string[];
  readonly isVariadic: boolean;
}

interface ArgumentFacts extends ValueFacts {
  readonly description: string;
  readonly isRequired: boolean;
}

export interface OptionFacts {
  /** `-o` and `--option`, those that there are. */
  readonly names: readonly string[];
  readonly description: string;
  readonly value: ValueFacts | undefined;
  readonly defaultValue: string | undefined;
}

export interface CommandFacts {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly summary: string;
  readonly description: string;
  /** Whether it is meant where no command is named. */
  readonly isDefault: boolean;
  readonly arguments: readonly ArgumentFacts[];
  readonly options: readonly OptionFacts[];
  /** What `--help` says after all that. */
  readonly epilog: string;
}

export interface ProgramFacts extends Omit<CommandFacts, 'isDefault' | 'arguments'> {
  readonly version: string;
  readonly commands: readonly CommandFacts[];
}

/** Kinds by the names of values. */
const KINDS: Readonly<Record<string, ValueKind>> = {
  child: 'image',
  disk: 'word',
  file: 'file',
  image: 'image',
  in: 'image',
  list: 'list',
  mountpoint: 'folder',
  n: 'word',
  name: 'word',
  out: 'file',
  parent: 'image',
  seconds: 'word',
  shell: 'word',
  size: 'word',
  type: 'word',
};

/** The facts of a program; it is not changed. */
export function factsOf(program: Command): ProgramFacts {
  const help = program.createHelp();
  const visible = help.visibleCommands(program);
  const names = visible.map((command) => command.name());
  const commands = visible.map((command): CommandFacts => ({
    ...commonFacts(command),
    isDefault: command.name() === DEFAULT_COMMAND,
    arguments: command.registeredArguments.map((argument) => argumentFacts(argument, names)),
  }));
  return { ...commonFacts(program), version: program.version() ?? '', commands };
}

function commonFacts(command: Command): Omit<CommandFacts, 'isDefault' | 'arguments'> {
  return {
    name: command.name(),
    aliases: command.aliases(),
    summary: command.summary() === '' ? command.description() : command.summary(),
    description: command.description(),
    options: command.createHelp().visibleOptions(command).map(optionFacts),
    epilog: epilogOf(command),
  };
}

function optionFacts(option: Option): OptionFacts {
  const { argChoices, description, flags, long, optional, required, short } = option;
  const defaultValue: unknown = option.defaultValue;
  const name = /[<[]([\w-]+)/.exec(flags)?.[1] ?? '';
  const hasDefault = typeof defaultValue === 'string' || typeof defaultValue === 'number';
  return {
    names: [short, long].filter((each) => each !== undefined),
    description,
    value: required || optional ? valueFacts(name, argChoices, option.variadic) : undefined,
    defaultValue: hasDefault ? String(defaultValue) : undefined,
  };
}

function argumentFacts(argument: Argument, commands: string[]): ArgumentFacts {
  const { argChoices, description, required, variadic } = argument;
  const name = argument.name();
  return {
    ...valueFacts(name, name === 'command' ? commands : argChoices, variadic),
    description,
    isRequired: required,
  };
}

function valueFacts(name: string, choices: string[] | undefined, isVariadic: boolean): ValueFacts {
  const kind = KINDS[name];
  const isChoice = choices !== undefined && kind !== 'list';
  return { name, kind: isChoice ? 'choice' : kind, choices: choices ?? [], isVariadic };
}

/** What `addHelpText` puts behind the help: commander gives it to nobody but the one who prints. */
function epilogOf(command: Command): string {
  const before = command.configureOutput();
  let text = '';
  command.configureOutput({ ...before, writeOut: (part) => (text += part) });
  command.outputHelp();
  command.configureOutput(before);
  return text.slice(command.helpInformation().length).trim();
}
