/** `vmdkfs completion SHELL`: what a shell needs to complete commands, options and values. */
import { Argument, type Command } from 'commander';
import { factsOf, type ProgramFacts } from './command-facts.js';
import { bashCompletion } from './completion-bash.js';
import { fishCompletion } from './completion-fish.js';
import { zshCompletion } from './completion-zsh.js';
import { print } from './output.js';

const SHELLS: Readonly<Record<string, (program: ProgramFacts) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

const HELP = `
Where the shells look for it:
  bash  vmdkfs completion bash > ~/.local/share/bash-completion/completions/vmdkfs
  zsh   vmdkfs completion zsh > _vmdkfs, in a folder of $fpath
  fish  vmdkfs completion fish > ~/.config/fish/completions/vmdkfs.fish
For this session alone, in bash and zsh: source <(vmdkfs completion bash).`;

/** Adds the command to the program. */
export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .summary('print completion for a shell')
    .description('Print what a shell needs to complete the commands, options and values of vmdkfs.')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SHELLS)))
    .addHelpText('after', HELP)
    .action((shell: string) => {
      print(SHELLS[shell]?.(factsOf(program)) ?? '');
    });
}
