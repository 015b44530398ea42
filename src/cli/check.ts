/** `vmdkfs check IMAGE [--repair] [--dry-run] [--json]`. */
import type { Command } from 'commander';
import { checkAndRepair, type CheckReport } from '../block/check/check-and-repair.js';
import type { Problem } from '../block/check/problem.js';
import { printable } from '../errno.js';
import { UsageError } from '../mount/mount-error.js';
import { ExitCode } from './exit-codes.js';
import { addOpenOptions, permissionsOf, type OpenFlags } from './open-options.js';
import {
  addReportOptions,
  printNotices,
  printResult,
  withProgress,
  type ReportFlags,
} from './report.js';

interface CheckFlags extends OpenFlags, ReportFlags {
  readonly repair?: true;
  readonly dryRun?: true;
  readonly lock: boolean;
}

const HELP = `
Checked are headers, directories, tables and their copies, every grain's place, compressed grains,
allocation records (COWD, seSparse), CIDs, and flat extents, parents included. --repair mends what
needs no guessing: from the redundant copy, records that follow from the tables, leaked space, the
mark of an unclean end. Parents are never mended.

Exit codes: 0 sound (leaked space and an unclean end included), 5 problems found that --repair did
not mend, and those of all commands.`;

/** Problems of one kind in a file that are printed. */
const SHOWN = 20;

/** Adds the command to the program. */
export function addCheckCommand(program: Command): void {
  const command = program
    .command('check')
    .summary('find damage in an image, and mend what can be mended')
    .description('Check an image and its parents. Nothing is written without --repair.')
    .argument('<image>', 'the VMDK file, the descriptor of a split disk, or an OVA')
    .option('--repair', 'mend what can be mended without guessing')
    .option('-n, --dry-run', 'say what --repair would do')
    .option('--no-lock', 'check although another program may be using the image')
    .addHelpText('after', HELP)
    .action(check);
  addReportOptions(command);
  addOpenOptions(command);
}

async function check(path: string, flags: CheckFlags): Promise<void> {
  if (flags.repair === true && flags.dryRun === true) {
    throw new UsageError('--repair and --dry-run exclude each other');
  }
  const report = await withProgress(flags, (progress) =>
    checkAndRepair(path, {
      permissions: permissionsOf(flags),
      disk: flags.disk,
      repair: flags.repair === true,
      lock: flags.lock,
      progress: (file, share) => {
        progress.show(`checking ${printable(file)}`, share);
      },
    }),
  );
  printNotices(flags, report.notices);
  printResult(flags, toJson(path, report), format(path, report, flags.dryRun === true));
  if (errorsOf(report) > 0) process.exitCode = ExitCode.PROBLEMS;
}

function errorsOf({ problems }: CheckReport): number {
  return problems.dropped + problems.list.filter(({ severity }) => severity === 'error').length;
}

/** The JSON shape; places in bytes. */
function toJson(path: string, report: CheckReport): unknown {
  return {
    image: path,
    sound: errorsOf(report) === 0,
    problems: report.problems.list.map((problem) => describe(problem, report.mendable)),
    /** Problems beyond those listed. */
    more: report.problems.dropped,
    mended: report.mended.map((problem) => describe(problem, report.mended)),
  };
}

function describe(problem: Problem, mendable: readonly Problem[]): unknown {
  const { diskOffset, file, grain, kind, message, offset, repairs, severity } = problem;
  return {
    kind,
    severity,
    file,
    offset: offset ?? null,
    grain: grain ?? null,
    diskOffset: diskOffset ?? null,
    message,
    repair: mendable.includes(problem) ? (repairs ?? []).map(({ what }) => what) : null,
  };
}

function format(path: string, report: CheckReport, isDryRun: boolean): string[] {
  const { mendable, mended, problems } = report;
  const lines = mended.map((problem) => `mended: ${lineOf(problem)}`);
  const shown = new Map<string, number>();
  let hidden = problems.dropped;
  for (const problem of problems.list) {
    const key = `${problem.file}\0${problem.kind}`;
    const count = (shown.get(key) ?? 0) + 1;
    shown.set(key, count);
    if (count > SHOWN) hidden += 1;
    else lines.push(...linesOf(problem, mendable, isDryRun));
  }
  if (hidden > 0) lines.push(`and ${hidden} more`);
  return [...lines, summary(path, report)];
}

function linesOf(problem: Problem, mendable: readonly Problem[], isDryRun: boolean): string[] {
  const line = lineOf(problem);
  if (!isDryRun || !mendable.includes(problem)) return [line];
  return [line, ...(problem.repairs ?? []).map(({ what }) => `  would ${what}`)];
}

function lineOf({ diskOffset, file, grain, message, offset }: Problem): string {
  const where = [
    ...(grain === undefined ? [] : [`grain ${grain} (disk offset ${diskOffset ?? 0})`]),
    ...(offset === undefined ? [] : [`at byte ${offset}`]),
  ].join(' ');
  return `${file}: ${where === '' ? '' : `${where}: `}${message}`;
}

function summary(path: string, report: CheckReport): string {
  const errors = errorsOf(report);
  const can = report.mendable.length;
  const mendable = can === 0 ? '' : `; ${can} of what was found can be mended with --repair`;
  if (errors === 0) return `${path}: sound${mendable}`;
  return `${path}: ${errors} ${errors === 1 ? 'problem' : 'problems'}${mendable}`;
}
