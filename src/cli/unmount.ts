/** `vmdkfs unmount MOUNTPOINT`. */
import type { Command } from 'commander';
import { connectControl } from '../mount/control-socket.js';
import { MountError } from '../mount/mount-error.js';
import { mountpointPath } from '../mount/mountpoint.js';
import { mountHolders } from '../os/mount-holders.js';
import { findMount } from '../os/mount-table.js';
import { unmount } from '../os/unmount.js';
import { systemError } from '../errno.js';

/** Adds the command to the program. */
export function addUnmountCommand(program: Command): void {
  program
    .command('unmount')
    .alias('umount')
    .summary('unmount, and wait until the image is closed')
    .description(
      'Unmount MOUNTPOINT; returns when everything is in the image and the image is closed.',
    )
    .argument('<mountpoint>', 'where the image is mounted')
    .action(unmountCommand);
}

async function unmountCommand(path: string): Promise<void> {
  const mountpoint = mountpointPath(path);
  const entry = findMount(mountpoint);
  if (entry?.type !== 'fuse.vmdkfs') {
    throw new MountError(`${mountpoint}: no vmdkfs image is mounted there`);
  }
  const server = await connectControl(entry);
  const result = await unmount(mountpoint, false);
  if (result.outcome !== 'unmounted') {
    server?.leave();
    const holders = mountHolders(mountpoint);
    const by = holders.length === 0 ? '' : `; in use by ${holders.join(', ')}`;
    throw new MountError(`${mountpoint}: ${result.message}${by}`);
  }
  if (server === undefined) return;
  const report = await server.closed;
  if (report === undefined) {
    throw systemError('EIO', `${entry.source}: the server died before it had closed the image`);
  }
  if (report.error !== undefined) throw systemError('EIO', report.error);
}
