import { findMount } from '../os/mount-table.js';
import { unmount } from '../os/unmount.js';
import { log } from './log.js';

/**
 * Takes away what a connection leaves that was aborted (through fusectl, or by `umount -f`): a mount
 * that answers nothing. Where the connection ended with its mount there is nothing to do.
 *
 * @param device the device number that the mount had, `major:minor`
 */
export async function detachAborted(mountpoint: string, device: string | undefined): Promise<void> {
  const left = findMount(mountpoint);
  if (left === undefined || left.device !== device) return;
  log(`${mountpoint}: the connection was aborted; unmounting`);
  const { message, outcome } = await unmount(mountpoint, true);
  if (outcome !== 'unmounted') log(`${mountpoint}: ${message}`);
}
