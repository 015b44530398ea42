#!/usr/bin/env node
/** The command line: one file for each command, errors and exit codes here. */
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { describeError } from '../errno.js';
import { exitNow } from '../os/exit.js';
import { addCheckCommand } from './check.js';
import { addCreateCommand } from './create.js';
import { addDemoCommand } from './demo.js';
import { ExitCode, exitCodeOf } from './exit-codes.js';
import { addInfoCommand } from './info.js';
import { addMountCommand } from './mount.js';
import { complain } from './output.js';
import { addUnmountCommand } from './unmount.js';

const EXIT_CODES = `
Exit codes: 0 done, 1 wrong usage, 2 bad image (or an extent or parent of it), 3 cannot mount or
unmount (busy included), 4 I/O error (the named image missing or not permitted included), 5 check
found problems, 6 the image is in use.`;

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

const program = new Command('vmdkfs')
  .description('Mount VMDK disk images as one raw file, disk.raw, for reading and writing.')
  .usage('[command] [options]\n       vmdkfs IMAGE MOUNTPOINT [-o OPTIONS]')
  .version(version, '-V, --version')
  .addHelpText('after', EXIT_CODES)
  .configureOutput({
    outputError: (text, write) => {
      write(text.replace(/^error: /, 'vmdkfs: '));
    },
  });
addMountCommand(program);
addUnmountCommand(program);
addInfoCommand(program);
addCreateCommand(program);
addCheckCommand(program);
addDemoCommand(program);
for (const command of [program, ...program.commands]) {
  command.exitOverride().copyInheritedSettings(program);
}

try {
  if (process.argv.length <= 2) program.help({ error: true });
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
exitNow();

function report(error: unknown): number {
  // commander has already said what is wrong.
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  complain(`vmdkfs: ${describeError(error)}`);
  return exitCodeOf(error);
}
