/** Completion for fish 3.4 and newer. */
import type { CommandFacts, ProgramFacts, ValueFacts } from './command-facts.js';
import { defaultOf, listWords, namesOf, valuedOptions } from './completion-words.js';

/** The script for a folder of fish's completions. */
export function fishCompletion(program: ProgramFacts): string {
  const { commands } = program;
  return [
    `# fish completion of vmdkfs ${program.version}, made from the program itself.`,
    functions(commands),
    'complete -c vmdkfs -f',
    ...commands.flatMap((command) =>
      namesOf(command).map(
        (name) => `complete -c vmdkfs -n '__vmdkfs_at 0' -a ${name} -d ${quote(command.summary)}`,
      ),
    ),
    ...program.options.map(
      ({ description, names }) =>
        `complete -c vmdkfs -n '__vmdkfs_at 0' ${flags(names)} -d ${quote(description)}`,
    ),
    ...commands.flatMap(completeCommand),
  ].join('\n');
}

function completeCommand(command: CommandFacts): string[] {
  const { name } = command;
  const ofOptions = command.options.map(({ description, names, value }) => {
    const takes = value === undefined ? '' : ` ${act(value, command, true)}`;
    return `complete -c vmdkfs -n '__vmdkfs_at ${name}' ${flags(names)}${takes} -d ${quote(description)}`;
  });
  const ofArguments = command.arguments.flatMap((value, index) => {
    const does = act(value, command, false);
    const place = value.isVariadic ? '' : ` ${index + 1}`;
    return does === '' ? [] : [`complete -c vmdkfs -n '__vmdkfs_at ${name}${place}' ${does}`];
  });
  return [...ofOptions, ...ofArguments];
}

function flags(names: readonly string[]): string {
  return names
    .map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
    .join(' ');
}

function act(value: ValueFacts, { options }: CommandFacts, isOption: boolean): string {
  const required = isOption ? '-x ' : '';
  switch (value.kind) {
    case 'choice':
      return `${required}-a ${quote(value.choices.join(' '))}`;
    case 'list':
      return `${required}-a ${quote(`(__vmdkfs_list ${listWords(value, options).join(' ')})`)}`;
    case 'image':
      return `${required}-k -a '(__fish_complete_suffix .vmdk)'`;
    case 'folder':
      return `${required}-a '(__fish_complete_directories)'`;
    case 'word':
      return required.trim();
    case 'file':
    case undefined:
      return isOption ? '-r -F' : '-F';
  }
}

/** What a line has so far: which command, and at which place its next argument stands. */
function functions(commands: readonly CommandFacts[]): string {
  const fallback = defaultOf(commands)?.name ?? '';
  const names = commands.map(
    (command) =>
      `                case ${namesOf(command).join(' ')}\n                    set command ${command.name}\n                    set is_named 1`,
  );
  const valued = commands.flatMap(valuedOptions).map(quote);
  return `
# Whether the command is $argv[1], or none is named where that is 0, and an argument at the place
# $argv[2] would come next, where that is given.
function __vmdkfs_at
    set -l command ${fallback}
    set -l place 1
    set -l is_named
    set -l option
    for word in (commandline -opc)[2..]
        if test -n "$option"
            set option
        else if string match -q -- '-?*' $word
            if contains -- "$command $word" ${valued.join(' ')}
                set option $word
            end
        else if test -z "$is_named" -a $place = 1
            switch $word
${names.join('\n')}
                case '*'
                    set place 2
            end
        else
            set place (math $place + 1)
        end
    end
    if test $argv[1] = 0
        test -z "$is_named" -a $place = 1
    else
        test $command = $argv[1] -a \\( (count $argv) = 1 -o "$argv[2]" = $place \\)
    end
end

# Words separated by commas, with what the line has of them.
function __vmdkfs_list
    set -l head (commandline -ct | string replace -r -- '^(-[^-]|--[^=]*=)' '' | string match -r -- '^.*,')
    printf '%s\\n' "$head"$argv
end
`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
