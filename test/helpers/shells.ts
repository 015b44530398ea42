/** Shells that complete lines as they do for a user; what they offer, one list for each line. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './run.js';
import { tempFolder } from './temp-folder.js';

export type Shell = 'bash' | 'zsh' | 'fish';

/**
 * Completes `lines` at their ends, in the folder `cwd`, with the completion `script`. An offer is
 * the word's last part: behind `=` and the last comma, without what a shell puts behind it.
 */
export async function complete(
  shell: Shell,
  script: string,
  cwd: string,
  lines: readonly string[],
): Promise<string[][]> {
  const folder = tempFolder();
  writeFileSync(join(folder, 'script'), script);
  const text = await DRIVERS[shell](folder, cwd, lines);
  const blocks = text.split('== LINE\n').slice(1);
  return blocks.map((block) => [
    ...new Set(
      block
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.replace(/[= /]$/, '').replace(/^.*[,=]/, '')),
    ),
  ]);
}

type Driver = (folder: string, cwd: string, lines: readonly string[]) => Promise<string>;

const DRIVERS: Readonly<Record<Shell, Driver>> = {
  bash: (folder, cwd, lines) => {
    const calls = lines.map((line) => {
      // Readline's default of COMP_WORDBREAKS; blanks at the end begin an empty word.
      const words = line.split(/\s+|(?=[=:])|(?<=[=:])/).map(quote);
      return `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _vmdkfs; report`;
    });
    const report = `report() { echo '== LINE'; printf '%s\\n' "\${COMPREPLY[@]}"; }`;
    return inFolder(cwd, folder, 'bash', [`source ${folder}/script`, report, ...calls], ['--norc']);
  },
  fish: (folder, cwd, lines) => {
    const calls = lines.map((line) => `echo '== LINE'; complete -C ${quote(line)} | cut -f1`);
    const setUp = `source ${folder}/script`;
    return inFolder(cwd, folder, 'fish', [setUp, ...calls], ['--no-config']);
  },
  /** Only zsh's line editor completes, and it wants a terminal: zsh has one of its own for that. */
  zsh: (folder, cwd, lines) => {
    const found = join(folder, 'found');
    writeFileSync(join(folder, '.zshrc'), ZSHRC);
    const setUp = `lines=(${lines.map(quote).join(' ')}); found=${quote(found)}`;
    writeFileSync(join(folder, 'lines'), setUp);
    const drive = [
      'zmodload zsh/zpty',
      `zpty inner ZDOTDIR=${quote(folder)} zsh -d -i`,
      'while zpty -r inner text; do :; done',
      `cat ${quote(found)}`,
    ];
    return inFolder(cwd, folder, 'zsh', drive, ['-f']);
  },
};

/** All lines are completed as soon as the first prompt is there; what is offered goes to a file. */
const ZSHRC = String.raw`
autoload -U compinit && compinit -u -D
source $ZDOTDIR/script
source $ZDOTDIR/lines
LISTMAX=100000
compadd() {
  # Calls that only sort out what matches offer nothing.
  if [[ " \${(j: :)@[1,(i)(-|--)]} " == *' -'[OAD]' '* ]]; then builtin compadd "$@"; return; fi
  local -a hits
  builtin compadd -A hits "$@"
  print -rl -- $hits >>$found
  builtin compadd "$@"
}
zle-line-init() {
  local line
  for line in $lines; do
    BUFFER=$line CURSOR=$#line
    print '== LINE' >>$found
    zle list-choices
  done
  exit
}
zle -N zle-line-init
`.replaceAll('\\$', '$');

async function inFolder(
  cwd: string,
  home: string,
  shell: Shell,
  lines: readonly string[],
  args: readonly string[],
): Promise<string> {
  const file = join(home, 'drive');
  writeFileSync(file, lines.join('\n'));
  const env = [`HOME=${home}`, `XDG_CONFIG_HOME=${home}`, `XDG_DATA_HOME=${home}`, 'TERM=dumb'];
  return check('env', '-C', cwd, ...env, shell, ...args, file);
}

function quote(text: string): string {
  return `'${text}'`;
}
