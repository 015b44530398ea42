/** A mount of this process, and how it is found among those that others make meanwhile. */
import type { Transport } from '../fuse/transport.js';
import { identify, type Mount } from '../os/mount-identity.js';
import { isSameEntry, readMountTable, type MountEntry } from '../os/mount-table.js';
import { MountError } from './mount-error.js';
import { MOUNT_TYPE } from './mountpoint.js';

/** How long serving threads may take to end after their mount, milliseconds. */
export const END_MS = 2000;

/** A tree that the kernel has mounted. */
export interface MountedTree extends Transport {
  /** Undefined where somebody has unmounted it at once. */
  readonly mount: Mount | undefined;
  /** Settles when nothing serves any more, however it ended; never rejects. */
  readonly idle: Promise<unknown>;
  /** Lets go of what an ended connection leaves: a mount that was aborted, descriptors, helpers. */
  release(): Promise<void>;
}

/** A start that failed and left threads that still use the image, which must stay open for them. */
export class ImageStillUsed extends MountError {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
  }
}

/**
 * The mount of this process at `mountpoint`; undefined where somebody has unmounted it already.
 *
 * @param fsname what the table shows as its source; one that is too long may be cut there
 * @param before the table as it was right before the mount was made
 */
export function findOwnMount(
  mountpoint: string,
  fsname: string,
  before: readonly MountEntry[],
): Mount | undefined {
  const userId = process.getuid?.() ?? 0;
  const made = readMountTable().filter(
    (entry) =>
      entry.mountpoint === mountpoint &&
      entry.type === MOUNT_TYPE &&
      entry.userId === userId &&
      !before.some((each) => isSameEntry(each, entry)),
  );
  const own = made.find(({ source }) => source === fsname) ?? made[0];
  return own === undefined ? undefined : identify(own);
}
