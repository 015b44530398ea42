/** The manual page vmdkfs(1) in man(7) format, made from the commander program. */
import type { CommandFacts, OptionFacts, ProgramFacts, ValueFacts } from './command-facts.js';
import { defaultOf } from './completion-words.js';

/** What no command's help has a place for. */
const FILES = [
  ['/dev/fuse', 'the device of the kernel; a user who mounts needs to read and write it'],
  ['/etc/fuse.conf', 'user_allow_other in it lets users mount with allow_other'],
] as const;

/** The page; every line of it is ASCII. */
export function formatManual(program: ProgramFacts): string {
  const fallback = defaultOf(program.commands);
  const lines = [
    `.TH ${quoted(program.name.toUpperCase())} "1" "" ${quoted(`${program.name} ${program.version}`)} "User Commands"`,
    '.SH NAME',
    `${program.name} \\- ${text(decapitalize(program.description))}`,
    '.SH SYNOPSIS',
    ...program.commands.flatMap((command) => synopsis(program.name, command)),
    ...(fallback === undefined ? [] : synopsis(program.name, { ...fallback, name: '' })),
    '.SH DESCRIPTION',
    ...paragraphs(program.description),
    ...(fallback === undefined
      ? []
      : ['Where no command is named,', `.B ${text(fallback.name)}`, 'is meant.']),
    '.SH COMMANDS',
    ...program.commands.flatMap(describeCommand),
    '.SH OPTIONS',
    'Without a command:',
    ...program.options.flatMap(describeOption),
    '.SH EXIT STATUS',
    ...paragraphs(program.epilog.replace(/^Exit codes: /, '')),
    '.SH FILES',
    ...FILES.flatMap(([file, what]) => ['.TP', `.I ${text(file)}`, text(what)]),
    '.SH SEE ALSO',
    '.BR fusermount3 (1),',
    '.BR mount.fuse3 (8),',
    '.BR losetup (8)',
  ];
  return `${lines.join('\n')}\n`;
}

function synopsis(
  program: string,
  command: Pick<CommandFacts, 'name' | 'arguments' | 'options'>,
): string[] {
  const words = [
    `\\fB${text(program)}\\fR`,
    ...(command.name === '' ? [] : [`\\fB${text(command.name)}\\fR`]),
    ...(command.options.length === 0 ? [] : ['[\\fIoptions\\fR]']),
    ...command.arguments.map((argument) => {
      const name = `\\fI${text(argument.name)}\\fR${argument.isVariadic ? ' ...' : ''}`;
      return argument.isRequired ? name : `[${name}]`;
    }),
  ];
  return ['.PP', words.join(' ')];
}

function describeCommand(command: CommandFacts): string[] {
  const { aliases, description, epilog, name, options } = command;
  return [
    `.SS ${[name, ...aliases].map(text).join(', ')}`,
    ...paragraphs(description),
    ...command.arguments.flatMap((argument) => [
      '.TP',
      `.I ${text(argument.name)}`,
      text(argument.description),
      ...choices(argument),
    ]),
    ...options.flatMap(describeOption),
    ...(epilog === '' ? [] : ['.PP', ...paragraphs(epilog)]),
  ];
}

function describeOption({ defaultValue, description, names, value }: OptionFacts): string[] {
  const takes = value === undefined ? '' : ` \\fI${text(value.name)}\\fR`;
  return [
    '.TP',
    `${names.map((name) => `\\fB${text(name)}\\fR`).join(', ')}${takes}`,
    text(description),
    ...choices(value),
    ...(defaultValue === undefined ? [] : [`(default: ${text(defaultValue)})`]),
  ];
}

function choices(value: ValueFacts | undefined): string[] {
  if (value === undefined || value.choices.length === 0) return [];
  const words = value.kind === 'list' ? 'Of these' : 'One of';
  return ['.br', `${words}: ${value.choices.map(text).join(', ')}.`];
}

/** Text of several lines: what is indented stays as it is, the rest is filled. */
function paragraphs(block: string): string[] {
  const lines: string[] = [];
  let isIndented = false;
  for (const line of block.split('\n')) {
    if (line.trim() === '') {
      if (!isIndented) lines.push('.PP');
      continue;
    }
    if (line.startsWith(' ') !== isIndented) {
      isIndented = !isIndented;
      lines.push(...(isIndented ? ['.PP', '.nf'] : ['.fi', '.PP']));
    }
    lines.push(text(line));
  }
  return isIndented ? [...lines, '.fi'] : lines;
}

/** Text in which nothing is a request or an escape; hyphens are such that can be copied. */
function text(plain: string): string {
  const escaped = plain.replaceAll('\\', '\\e').replaceAll('-', '\\-');
  return /^['.]/.test(escaped) ? `\\&${escaped}` : escaped;
}

function quoted(plain: string): string {
  return `"${text(plain).replaceAll('"', '\\(dq')}"`;
}

function decapitalize(sentence: string): string {
  return sentence.replace(/^./, (letter) => letter.toLowerCase()).replace(/\.$/, '');
}
