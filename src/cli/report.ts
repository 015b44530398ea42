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

/** Lines or elements that are printed together. */
const PRINTED_TOGETHER = 256;

/** Prints lines as they come: there may be millions of them. Ends where nobody reads them any more. */
export function printLines(lines: Iterable<string>): void {
  let batch: string[] = [];
  for (const line of lines) {
    batch.push(line);
    if (batch.length < PRINTED_TOGETHER) continue;
    if (!print(...batch)) return;
    batch = [];
  }
  print(...batch);
}

/** Prints a JSON array, element by element, as `printResult` would print all of it. */
export function printItems(items: Iterable<unknown>): void {
  printLines(arrayLines(items));
}

function* arrayLines(items: Iterable<unknown>): Generator<string> {
  let last: string[] | undefined;
  for (const item of items) {
    if (last === undefined) yield '[';
    else yield* followed(last);
    last = JSON.stringify(item, undefined, 2)
      .split('\n')
      .map((line) => `  ${line}`);
  }
  if (last === undefined) {
    yield '[]';
    return;
  }
  yield* last;
  yield ']';
}

/** The lines of an element with another behind it. */
function followed(lines: readonly string[]): string[] {
  return lines.map((line, index) => (index === lines.length - 1 ? `${line},` : line));
}
