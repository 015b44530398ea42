/** What the completions of all shells have in common. */
import type { CommandFacts, OptionFacts, ValueFacts } from './command-facts.js';

/** A command's name and its aliases. */
export function namesOf({ aliases, name }: CommandFacts): readonly string[] {
  return [name, ...aliases];
}

/** Text between single quotes, for bash and zsh. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * The words of a list: `transport=NAME` as often as `--transport` has choices, else `transport=`.
 *
 * @param options those of the command, which have the choices
 */
export function listWords(value: ValueFacts, options: readonly OptionFacts[]): readonly string[] {
  return value.choices.flatMap((choice) => {
    const [name = '', word] = choice.split('=', 2);
    if (word === undefined) return [choice];
    const choices = choicesOf(name, options);
    return choices.length === 0 ? [`${name}=`] : choices.map((each) => `${name}=${each}`);
  });
}

/** The choices of the word `name` of a list, which are those of the long option of that name. */
export function choicesOf(name: string, options: readonly OptionFacts[]): readonly string[] {
  const option = options.find(({ names }) => names.includes(`--${name.replaceAll('_', '-')}`));
  return option?.value?.choices ?? [];
}

/** The options of a command that have a value, each name behind that of the command. */
export function valuedOptions({ name, options }: CommandFacts): readonly string[] {
  return options
    .filter(({ value }) => value !== undefined)
    .flatMap(({ names }) => names.map((option) => `${name} ${option}`));
}

/** The command that is meant where none is named. */
export function defaultOf(commands: readonly CommandFacts[]): CommandFacts | undefined {
  return commands.find(({ isDefault }) => isDefault);
}
