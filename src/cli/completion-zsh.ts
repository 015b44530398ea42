/** Completion for zsh's own system of completion (compinit). */
import type { CommandFacts, OptionFacts, ProgramFacts, ValueFacts } from './command-facts.js';
import { choicesOf, defaultOf, namesOf, quote } from './completion-words.js';

/** The script: a function for a folder of $fpath, which may also be sourced. */
export function zshCompletion(program: ProgramFacts): string {
  const { commands } = program;
  const fallback = defaultOf(commands)?.name ?? '';
  return [
    '#compdef vmdkfs',
    `# zsh completion of vmdkfs ${program.version}, made from the program itself.`,
    ...commands.flatMap(commandFunctions),
    '',
    '_vmdkfs() {',
    '  local -a commands=(',
    ...commands.flatMap((command) =>
      namesOf(command).map((name) => `    ${quote(`${escape(name)}:${command.summary}`)}`),
    ),
    '  )',
    '  if ((CURRENT > 2)); then',
    '    case $words[2] in',
    ...commands.map(
      (command) =>
        `      ${namesOf(command).join('|')}) shift words; ((CURRENT -= 1)); _vmdkfs_${command.name}; return ;;`,
    ),
    '    esac',
    '  fi',
    '  local result=1',
    '  if ((CURRENT == 2)); then',
    '    if [[ $words[2] == -* ]]; then',
    `      _values option ${program.options.flatMap(({ description, names }) => names.map((name) => quote(`${escape(name)}[${escape(description)}]`))).join(' ')} && result=0`,
    '    else',
    "      _describe -t commands 'command of vmdkfs' commands && result=0",
    '    fi',
    '  fi',
    `  _vmdkfs_${fallback} && result=0`,
    '  return result',
    '}',
    '',
    'if [[ $funcstack[1] == _vmdkfs ]]; then _vmdkfs "$@"; else compdef _vmdkfs vmdkfs; fi',
  ].join('\n');
}

function commandFunctions(command: CommandFacts): string[] {
  const lists = command.options.flatMap(({ value }) =>
    value?.kind === 'list' ? listFunction(command, value) : [],
  );
  const specs = [
    ...command.options.map((option) => optionSpec(command, option)),
    ...command.arguments.map((value, index) => {
      const place = value.isVariadic ? '*' : String(index + 1);
      const separator = value.isRequired ? ':' : '::';
      return quote(`${place}${separator}${value.name}:${act(command, value)}`);
    }),
  ];
  return [
    '',
    ...lists,
    `_vmdkfs_${command.name}() {`,
    '  _arguments -s -S \\',
    specs.map((spec) => `    ${spec}`).join(' \\\n'),
    '}',
  ];
}

/** `(-o --option)'{-o,--option=}'[...]:list:...`: one of the names keeps the other from coming again. */
function optionSpec(command: CommandFacts, { description, names, value }: OptionFacts): string {
  const isRepeated = value?.kind === 'list' || value?.isVariadic === true;
  const before = isRepeated ? '*' : names.length > 1 ? `(${names.join(' ')})` : '';
  const forms = names.map((name) => {
    if (value === undefined) return name;
    return name.startsWith('--') ? `${name}=` : `${name}+`;
  });
  const form = forms.length > 1 ? `{${forms.join(',')}}` : (forms[0] ?? '');
  const takes = value === undefined ? '' : `:${escape(value.name)}:${act(command, value)}`;
  const text = quote(`[${escape(description)}]${takes}`);
  return `${before === '' ? '' : quote(before)}${form}${text}`;
}

/** What completes a value: its action, not yet quoted. */
function act(command: CommandFacts, value: ValueFacts): string {
  switch (value.kind) {
    case 'choice':
      return `(${value.choices.join(' ')})`;
    case 'list':
      return `_vmdkfs_${command.name}_${value.name}`;
    case 'image':
      return '_files -g "*.(#i)(vmdk|ova)"';
    case 'folder':
      return '_files -/';
    case 'word':
      return ' ';
    case 'file':
    case undefined:
      return '_files';
  }
}

function listFunction(command: CommandFacts, value: ValueFacts): string[] {
  const words = value.choices.map((choice) => {
    const [name = '', word] = choice.split('=', 2);
    if (word === undefined) return name;
    const choices = choicesOf(name, command.options);
    return quote(`${name}:${word}:${choices.length === 0 ? ' ' : `(${choices.join(' ')})`}`);
  });
  return [
    `_vmdkfs_${command.name}_${value.name}() {`,
    `  _values -s , ${quote(value.name)} ${words.join(' ')}`,
    '}',
    '',
  ];
}

/** Text in a specification, where brackets and colons have a meaning. */
function escape(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, String.raw`\$&`);
}
