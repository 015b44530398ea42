/**
 * How commands report: notices on stderr, progress on a terminal, the result as lines or as JSON on
 * stdout. The same options and the same order for all of them.
 */
import type { Command } from 'commander';
import { printable } from '../errno.js';
import { complain, print } from './output.js';
import { Progress } from './progress.js';

/** What `addQuietOption` adds, as commander gives it. */
export interface QuietFlags {
  readonly quiet?: true;
}

/** What `addReportOptions` adds. */
export interface ReportFlags extends QuietFlags {
  readonly json?: true;
}

/** Adds `--quiet` to a command without a result to print. */
export function addQuietOption(command: Command): void {
  command.option('-q, --quiet', 'print errors only');
}

/** Adds `--json` and `--quiet` to a command. */
export function addReportOptions(command: Command): void {
  command
    .option('--json', 'print JSON')
    .option('-q, --quiet', 'print neither notices nor progress, only results and errors');
}

/** Does `work` with a line for its progress, which is gone when it ends, also by an exception. */
export async function withProgress<T>(
  flags: ReportFlags,
  work: (progress: Progress) => T | Promise<T>,
): Promise<T> {
  const progress = new Progress(flags.quiet === true);
  try {
    return await work(progress);
  } finally {
    progress.end();
  }
}

/** Says what the user should know beside the result. */
export function printNotices(flags: QuietFlags, notices: readonly string[]): void {
  if (flags.quiet === true) return;
  complain(...notices.map((notice) => `vmdkfs: ${printable(notice)}`));
}

/** Prints the result: `json` with `--json`, otherwise `lines`. */
export function printResult(flags: ReportFlags, json: unknown, lines: readonly string[]): void {
  if (flags.json === true) print(JSON.stringify(json, undefined, 2));
  else print(...lines.map(printable));
}
