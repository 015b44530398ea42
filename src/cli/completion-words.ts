/** What the completions of all shells have in common. */
import type { CommandFacts, OptionFacts, ValueFacts } from './command-facts.js';

/** A command's name and its aliases, as a pattern of `case`. */
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
    const option = options.find(({ names }) => names.includes(`--${name.replaceAll('_', '-')}`));
    const choices = option?.value?.choices ?? [];
    return choices.length === 0 ? [`${name}=`] : choices.map((each) => `${name}=${each}`);
  });
}

/** The command that is meant where none is named. */
export function defaultOf(commands: readonly CommandFacts[]): CommandFacts | undefined {
  return commands.find(({ isDefault }) => isDefault);
}
