/** The commander program: every command, from which help, manual and completion are made as well. */
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { addCheckCommand } from './check.js';
import { addCommitCommand } from './commit.js';
import { addCompletionCommand } from './completion.js';
import { addCompactCommand } from './compact.js';
import { addConvertCommand } from './convert.js';
import { addCreateCommand } from './create.js';
import { addDemoCommand } from './demo.js';
import { addDiffCommand } from './diff.js';
import { addInfoCommand } from './info.js';
import { addListCommand } from './list.js';
import { addMapCommand } from './map.js';
import { addMountCommand } from './mount.js';
import { complainText, printText } from './output.js';
import { addStatsCommand } from './stats.js';
import { addUnmountCommand } from './unmount.js';

const EXIT_CODES = `
Exit codes: 0 done, 1 wrong usage, 2 bad image (or an extent or parent of it), 3 cannot mount or
unmount (busy included), 4 I/O error (the named image missing or not permitted included), 5 check
found problems, 6 the image is in use.`;

/** What adds each command to a program, in the order of `--help`. */
const COMMANDS: readonly ((program: Command) => void)[] = [
  addMountCommand,
  addUnmountCommand,
  addListCommand,
  addStatsCommand,
  addInfoCommand,
  addCreateCommand,
  addConvertCommand,
  addCompactCommand,
  addCheckCommand,
  addCommitCommand,
  addDiffCommand,
  addMapCommand,
  addDemoCommand,
  addCompletionCommand,
];

/** A new program with all commands; errors of usage are thrown (commander's `exitOverride`). */
export function buildProgram(): Command {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  const program = new Command('vmdkfs')
    .description('Mount VMDK disk images as one raw file, disk.raw, for reading and writing.')
    .usage('[command] [options]\n       vmdkfs IMAGE MOUNTPOINT [-o OPTIONS]')
    .version(version, '-V, --version')
    .addHelpText('after', EXIT_CODES)
    .configureOutput({
      writeOut: printText,
      writeErr: complainText,
      outputError: (text, write) => {
        write(text.replace(/^error: /, 'vmdkfs: '));
      },
    });
  for (const add of COMMANDS) add(program);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().copyInheritedSettings(program);
  }
  return program;
}
