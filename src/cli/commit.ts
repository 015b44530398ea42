/** `vmdkfs commit CHILD [--delete] [--json]`. */
import type { Command } from 'commander';
import { mergeChild, type MergeReport } from '../block/merge-child.js';
import { printable } from '../errno.js';
import { addPermissionOptions, permissionsOf, type PermissionFlags } from './open-options.js';
import {
  addReportOptions,
  printNotices,
  printResult,
  withProgress,
  type ReportFlags,
} from './report.js';
import { formatSize } from './size.js';

interface CommitFlags extends PermissionFlags, ReportFlags {
  readonly delete?: true;
  readonly dropChangeTracking?: true;
  readonly lock: boolean;
}

const HELP = `
Everything that the child holds is copied to its direct parent; then the child is emptied, and stays
a child of it. The disk of the child is the same before, after, and at every moment in between: cut
off by a kill, a full disk or a power cut, run the command again. Parents of the parent are only read.

Other children of the same parent do not fit it any more, and are refused from then on. Those that lie
beside it are named before anything is changed.`;

/** Adds the command to the program. */
export function addCommitCommand(program: Command): void {
  const command = program
    .command('commit')
    .summary('merge a child into its parent')
    .description('Merge what a child holds into its parent, and empty the child.')
    .argument('<child>', 'the VMDK file, or the descriptor of a split disk')
    .option('--delete', 'remove the files of the child instead of emptying it')
    .option('--drop-change-tracking', 'write to a parent whose changes are tracked for backups')
    .option('--no-lock', 'go on although another program may be using the images')
    .addHelpText('after', HELP)
    .action(commit);
  addReportOptions(command);
  addPermissionOptions(command);
}

async function commit(path: string, flags: CommitFlags): Promise<void> {
  const deleteChild = flags.delete === true;
  const report = await withProgress(flags, (progress) =>
    mergeChild(path, {
      permissions: {
        ...permissionsOf(flags),
        dropChangeTracking: flags.dropChangeTracking === true,
      },
      deleteChild,
      lock: flags.lock,
      warn: (notice) => {
        printNotices(flags, [notice]);
      },
      progress: (share) => {
        progress.show(`merging ${printable(path)}`, share);
      },
    }),
  );
  printNotices(flags, report.notices);
  printResult(flags, toJson(path, report), [format(path, report, deleteChild)]);
}

/** The JSON shape. */
function toJson(path: string, report: MergeReport): unknown {
  const { dataBytes, isDeleted, parent, zeroBytes } = report;
  const bytes = dataBytes + zeroBytes;
  return { image: path, parent, bytes, dataBytes, zeroBytes, deleted: isDeleted };
}

function format(path: string, report: MergeReport, deleteChild: boolean): string {
  const { dataBytes, isDeleted, parent, zeroBytes } = report;
  const what =
    dataBytes + zeroBytes === 0
      ? 'nothing to merge'
      : `${formatSize(dataBytes)} of data and ${formatSize(zeroBytes)} of zeros merged`;
  const end = deleteChild ? `${isDeleted ? '' : 'not '}removed` : 'empty now';
  return `${path}: ${what} into ${parent}; the child is ${end}`;
}
