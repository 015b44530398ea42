/** Completion for bash 4.4 and newer; it needs nothing of the bash-completion package. */
import type { CommandFacts, ProgramFacts, ValueFacts } from './command-facts.js';
import { defaultOf, listWords, namesOf, quote, valuedOptions } from './completion-words.js';

/** The script that bash sources. */
export function bashCompletion(program: ProgramFacts): string {
  const { commands } = program;
  const fallback = defaultOf(commands)?.name ?? '';
  const words = [...commands.flatMap(namesOf), ...program.options.flatMap(({ names }) => names)];
  return [
    `# bash completion of vmdkfs ${program.version}, made from the program itself.`,
    FUNCTIONS,
    '# Whether the option $2 of the command $1 has a value.',
    '_vmdkfs_has_value() {',
    '  case "$1 $2" in',
    `    ${commands.flatMap(valuedOptions).map(quote).join('|')}) return 0 ;;`,
    '  esac',
    '  return 1',
    '}',
    '',
    '# Completes the value of the option $2 of the command $1, or the argument at that place.',
    '_vmdkfs_value() {',
    '  case "$1 $2" in',
    ...commands.flatMap(valueCases),
    '  esac',
    '}',
    '',
    '# Completes an option of the command $1.',
    '_vmdkfs_option() {',
    '  case "$1" in',
    ...commands.map(
      (command) =>
        `    ${command.name}) _vmdkfs_words ${command.options.flatMap(({ names }) => names).join(' ')} ;;`,
    ),
    '  esac',
    '}',
    '',
    '_vmdkfs() {',
    `  local command=${fallback} commands=${quote(words.join(' '))}`,
    MAIN.replace('@NAMES@', commands.map(nameCase).join('\n')),
    '}',
    '',
    'complete -F _vmdkfs vmdkfs',
  ].join('\n');
}

function nameCase(command: CommandFacts): string {
  return `          ${namesOf(command).join('|')}) command=${command.name} is_named=1 ;;`;
}

function valueCases(command: CommandFacts): string[] {
  const { name, options } = command;
  const ofOptions = options.flatMap(({ names, value }) =>
    value === undefined
      ? []
      : [
          `    ${names.map((each) => quote(`${name} ${each}`)).join('|')}) ${act(value, command)} ;;`,
        ],
  );
  const ofArguments = command.arguments.map((value, index) => {
    const place = value.isVariadic ? `${quote(`${name} `)}[0-9]*` : quote(`${name} ${index + 1}`);
    return `    ${place}) ${act(value, command)} ;;`;
  });
  return [...ofOptions, ...ofArguments];
}

function act(value: ValueFacts, { options }: CommandFacts): string {
  switch (value.kind) {
    case 'choice':
      return `_vmdkfs_words ${value.choices.join(' ')}`;
    case 'list':
      return `_vmdkfs_list ${listWords(value, options).join(' ')}`;
    case 'image':
      return '_vmdkfs_images';
    case 'folder':
      return '_vmdkfs_files -d';
    case 'word':
      return ':';
    case 'file':
    case undefined:
      return '_vmdkfs_files -f';
  }
}

/** They complete `$cur` into COMPREPLY. */
const FUNCTIONS = `
_vmdkfs_words() {
  mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$*" -- "$cur")
}

# Words separated by commas; those with a value end with =.
_vmdkfs_list() {
  local last=\${cur##*,}
  mapfile -t COMPREPLY < <(compgen -P "\${cur%"$last"}" -W "$*" -- "$last")
  compopt -o nospace 2>/dev/null
}

_vmdkfs_files() {
  mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen "$@" -- "$cur")
  compopt -o filenames 2>/dev/null
}

# Images and folders, or any file where there is no image.
_vmdkfs_images() {
  local before=\${#COMPREPLY[@]}
  _vmdkfs_files -f -X '!*.[vV][mM][dD][kK]'
  _vmdkfs_files -f -X '!*.[oO][vV][aA]'
  if ((\${#COMPREPLY[@]} == before)); then _vmdkfs_files -f; else _vmdkfs_files -d; fi
}
`;

const MAIN = `  local place=1 is_named='' is_ended='' option='' word cur raw index
  local -a words=()
  # bash breaks words at = and : where COMP_WORDBREAKS has them; here they are whole.
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if ((\${#words[@]} > 0)) && [[ $word == [=:]* || \${words[-1]} == *[=:] ]]; then
      words[-1]+=$word
    else
      words+=("$word")
    fi
  done
  cur=\${words[-1]}
  unset 'words[-1]'
  for word in "\${words[@]}"; do
    if [[ -n $option ]]; then
      option=''
    elif [[ -z $is_ended && $word == -- ]]; then
      is_ended=1
    elif [[ -z $is_ended && $word == -?* ]]; then
      if _vmdkfs_has_value "$command" "$word"; then option=$word; fi
    else
      if [[ -z $is_named && $place == 1 ]]; then
        case $word in
@NAMES@
          *) place=2 ;;
        esac
      else
        ((place += 1))
      fi
    fi
  done
  COMPREPLY=()
  if [[ -z $option$is_ended && $cur == --*=* ]]; then
    option=\${cur%%=*}
    cur=\${cur#*=}
  fi
  if [[ -n $option ]]; then
    _vmdkfs_value "$command" "$option"
  elif [[ -z $is_ended && $cur == -* ]]; then
    _vmdkfs_option "$command"
    if ((\${#words[@]} == 0)); then _vmdkfs_words "$commands"; fi
  else
    if [[ -z $is_named && $place == 1 && -z $is_ended ]]; then _vmdkfs_words "$commands"; fi
    _vmdkfs_value "$command" "$place"
  fi
  # What bash puts the answer in place of: less than $cur where it broke the word, more where it
  # did not and $cur is the value alone.
  raw=\${COMP_WORDS[COMP_CWORD]}
  if [[ $raw == [=:] ]]; then raw=''; fi
  for index in "\${!COMPREPLY[@]}"; do
    word=\${COMPREPLY[index]}
    if ((\${#raw} > \${#cur})); then
      COMPREPLY[index]=\${raw%"$cur"}$word
    else
      COMPREPLY[index]=\${word#"\${cur%"$raw"}"}
    fi
  done`;
