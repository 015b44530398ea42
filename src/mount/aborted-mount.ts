import { isDeadMount } from '../os/dead-mount.js';
import { placeOf, type Mount } from '../os/mount-identity.js';
import { unmount } from '../os/unmount.js';
import { log } from './log.js';
import { LOOK_MS } from './mountpoint.js';

/**
 * Takes away what a connection leaves that was aborted (through fusectl, or by `umount -f`): a mount
 * that answers nothing. Where the connection ended with its mount there is nothing to do.
 *
 * @param mount the mount of the connection, which has ended
 */
export async function detachAborted(mount: Mount | undefined): Promise<void> {
  if (mount === undefined) return;
  const place = placeOf(mount);
  if (place.state !== 'on top') return;
  const { mountpoint } = place.entry;
  // Without a number that is its own for ever, what looks like it may be another mount, which lives.
  if (mount.uniqueId === undefined && !(await isDeadMount(mountpoint, LOOK_MS))) return;
  log(`${mountpoint}: the connection was aborted; unmounting`);
  const { message, outcome } = await unmount(mount, true);
  if (outcome !== 'unmounted') log(`${mountpoint}: ${message}`);
}
