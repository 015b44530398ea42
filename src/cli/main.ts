#!/usr/bin/env node
/** The command line: errors and exit codes here, everything else in the commands. */
import { CommanderError } from 'commander';
import { processArguments } from '../os/arguments.js';
import { describeError } from '../errno.js';
import { explainedError } from '../image/recognise/explained-error.js';
import { exitNow } from '../os/exit.js';
import { ExitCode, exitCodeOf } from './exit-codes.js';
import { complain } from './output.js';
import { buildProgram } from './program.js';

const program = buildProgram();
try {
  if (process.argv.length <= 2) program.help({ error: true });
  await program.parseAsync(processArguments());
} catch (error) {
  process.exitCode = report(error);
}
exitNow();

function report(error: unknown): number {
  // commander has already said what is wrong.
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  complain(`vmdkfs: ${describeError(explainedError(error))}`);
  return exitCodeOf(error);
}
