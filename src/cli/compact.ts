/** `vmdkfs compact IMAGE [--json] [-q]`. */
import type { Command } from 'commander';
import { compactImage, type CompactReport } from '../block/compact/compact-image.js';
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

interface CompactFlags extends PermissionFlags, ReportFlags {
  readonly lock: boolean;
}

const HELP = `
Grains of zeros and space that nothing leads to are given back to the host; in monolithic, split and
vmfsSparse images grains move to the front, and the files get shorter. Flat extents get holes. The
disk holds the same afterwards, children stay valid, and it may be cut off at any moment. What a
guest has deleted is still data until it is zeroed or discarded: run fstrim on the mounted disk first.`;

/** Adds the command to the program. */
export function addCompactCommand(program: Command): void {
  const command = program
    .command('compact')
    .summary('give space back that an image takes without need')
    .description('Make the files of an image smaller; what the disk holds stays the same.')
    .argument('<image>', 'the VMDK file, or the descriptor of a split disk')
    .option('--no-lock', 'go on where the file system has no locks')
    .addHelpText('after', HELP)
    .action(compact);
  addReportOptions(command);
  addPermissionOptions(command);
}

async function compact(path: string, flags: CompactFlags): Promise<void> {
  const report = await withProgress(flags, (progress) =>
    compactImage(path, {
      permissions: permissionsOf(flags),
      lock: flags.lock,
      progress: (file, share) => {
        progress.show(`compacting ${printable(file)}`, share);
      },
    }),
  );
  printNotices(flags, report.notices);
  const { before, after } = totalsOf(report);
  const saved = Math.max(0, before - after);
  printResult(flags, { image: path, before, after, saved, files: report.files }, [
    `${path}: ${formatSize(saved)} saved, ${formatSize(after)} left on the host`,
  ]);
}

function totalsOf({ files }: CompactReport): { before: number; after: number } {
  return {
    before: files.reduce((sum, { before }) => sum + before, 0),
    after: files.reduce((sum, { after }) => sum + after, 0),
  };
}
