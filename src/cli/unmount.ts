/** `vmdkfs unmount MOUNTPOINT`. */
import type { Command } from 'commander';
import { MountError } from '../mount/mount-error.js';
import { MOUNT_TYPE, mountpointPath } from '../mount/mountpoint.js';
import { detachLoops, takeLastWords, unmountEntry } from '../mount/unmounting.js';
import { findMount } from '../os/mount-table.js';
import { print } from './output.js';
import { addQuietOption, printNotices, type QuietFlags } from './report.js';

interface UnmountFlags extends QuietFlags {
  readonly lazy?: true;
  readonly detachLoops?: true;
}

/** Adds the command to the program. */
export function addUnmountCommand(program: Command): void {
  const command = program
    .command('unmount')
    .alias('umount')
    .summary('unmount, and wait until the image is closed')
    .description(
      'Unmount MOUNTPOINT; returns when everything is in the image and the image is closed.',
    )
    .argument('<mountpoint>', 'where the image is mounted')
    .option('-l, --lazy', 'detach a busy mount now; it is served until its last user is gone')
    .option('--detach-loops', 'first detach loop devices over its files that nobody has mounted')
    .action(unmountCommand);
  addQuietOption(command);
}

async function unmountCommand(path: string, flags: UnmountFlags): Promise<void> {
  const mountpoint = mountpointPath(path);
  const entry = findMount(mountpoint);
  if (entry?.type !== MOUNT_TYPE) {
    const words = takeLastWords(process.getuid?.() ?? 0, mountpoint);
    const last = words === '' ? '' : '; the last server there ended without closing its image';
    throw new MountError(`${mountpoint}: no vmdkfs image is mounted there${last}${words}`);
  }
  if (flags.detachLoops === true) {
    const detached = await detachLoops(mountpoint);
    const lines = detached.map(({ file, path: device }) => `${device} detached (${file})`);
    if (flags.quiet !== true) print(...lines);
  }
  const { notice, servedFor } = await unmountEntry(entry, flags.lazy === true);
  if (notice !== undefined) printNotices(flags, [notice]);
  if (servedFor === undefined) return;
  const by = servedFor.length === 0 ? '' : `: ${servedFor.join(', ')}`;
  printNotices(flags, [`${mountpoint}: detached; served until its last user is gone${by}`]);
}
