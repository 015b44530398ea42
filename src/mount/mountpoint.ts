/** Checks of a mountpoint before anything is mounted, each with its own sentence. */
import { accessSync, readdirSync, realpathSync, statSync, absolutePath } from '../os/host-fs.js';
import { describeError } from '../errno.js';
import { constants } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lookAtMount } from '../os/dead-mount.js';
import { identify, type Mount } from '../os/mount-identity.js';
import { findMount, type MountEntry } from '../os/mount-table.js';
import { unmount } from '../os/unmount.js';
import { isRefused } from './control-socket.js';
import { MountError } from './mount-error.js';

/** Type of all our mounts in the mount table. */
export const MOUNT_TYPE = 'fuse.vmdkfs';

/** How long a mount is given to show that it has a server, milliseconds. */
export const LOOK_MS = 5000;

/** How long a server may take from its mount to its socket, milliseconds. */
export const LISTEN_MS = 5000;
const POLL_MS = 20;

/**
 * The absolute path of the mountpoint, without links.
 *
 * @throws MountError when nothing can be mounted there
 */
export function checkMountpoint(path: string, image: string, mayBeNonempty: boolean): string {
  const mountpoint = locate(path);
  const mounted = findMount(mountpoint);
  if (mounted !== undefined) {
    throw new MountError(
      `${mountpoint}: is busy, ${mounted.source} (${mounted.type}) is mounted there; unmount it first`,
    );
  }
  if (!statSync(mountpoint).isDirectory()) {
    throw new MountError(`${mountpoint}: is not a directory (an empty directory expected)`);
  }
  if (isInside(realpathSync(image), mountpoint)) {
    throw new MountError(`${mountpoint}: the image ${image} lies inside its own mountpoint`);
  }
  if (!mayBeNonempty && readdirSync(mountpoint).length > 0) {
    throw new MountError(
      `${mountpoint}: is not empty; choose an empty directory, or mount over it with -o nonempty`,
    );
  }
  return mountpoint;
}

function locate(path: string): string {
  try {
    const mountpoint = realpathSync(path);
    // Whether a server answers there does not show in the path.
    statSync(mountpoint);
    return mountpoint;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOTCONN') {
      throw new MountError(
        `${path}: a FUSE server that died is still mounted there; run: fusermount3 -u ${path}`,
      );
    }
    if (code === 'ENOENT') {
      throw new MountError(`${path}: does not exist; make the directory first`);
    }
    throw new MountError(`${path}: ${describeError(error)}`);
  }
}

/**
 * @param path absolute, of a file that need not exist
 * @throws MountError where it lies below `mountpoint`: a server cannot use its own mount
 */
export function assertOutside(path: string, mountpoint: string): void {
  if (!isInside(realPathOf(path), mountpoint)) return;
  throw new MountError(`${path}: lies inside the mountpoint ${mountpoint}; choose another place`);
}

/**
 * The path without links of a file that need not exist, in a folder that does.
 *
 * @throws the system's error where it does not
 */
export function realPathOf(path: string): string {
  return join(realpathSync(dirname(path)), basename(path));
}

/** Whether `path` lies below `folder`; both without links. */
export function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/**
 * Clears what servers of ours that died have left mounted at `path`; others' mounts stay.
 *
 * @returns a line for the user for each mount that was cleared
 * @throws MountError where it cannot be unmounted
 */
export async function clearDeadMount(path: string): Promise<string[]> {
  const mountpoint = mountpointPath(path);
  const notices: string[] = [];
  for (;;) {
    const entry = findMount(mountpoint);
    if (entry?.type !== MOUNT_TYPE) return notices;
    const mount = identify(entry);
    if (!(await hasDied(mount))) return notices;
    // Files that are open in there are lost already.
    const { message, outcome } = await unmount(mount, true);
    if (outcome !== 'unmounted') {
      throw new MountError(
        `${mountpoint}: the dead mount of ${entry.source} could not be cleared: ${message}`,
      );
    }
    notices.push(
      `${mountpoint}: the server of ${entry.source} had died without unmounting; its mount was cleared`,
    );
  }
}

/**
 * Whether nobody serves a mount any more. The kernel shows that only to its own user; others look for
 * its socket. One that nobody listens at may be of an earlier mount with the same device number, and
 * the server of this one is about to listen.
 */
async function hasDied(mount: Mount): Promise<boolean> {
  const look = await lookAtMount(mount.mountpoint, LOOK_MS);
  if (look !== 'unknown') return look === 'dead';
  const end = performance.now() + LISTEN_MS;
  while (await isRefused(mount)) {
    if (performance.now() > end) return true;
    await sleep(POLL_MS);
  }
  return false;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/**
 * The path of what may be a mount, without links and without touching the mount itself: its server
 * may be dead.
 */
export function mountpointPath(path: string): string {
  const absolute = absolutePath(path);
  if (findMount(absolute) !== undefined) return absolute;
  try {
    const beside = realPathOf(absolute);
    return findMount(beside) === undefined ? realpathSync(absolute) : beside;
  } catch {
    return absolute; // there is no such path, and so no mount
  }
}

/**
 * The vmdkfs mount at `path`, found without touching it.
 *
 * @throws MountError when something else is mounted there, or nothing
 */
export function mountedImage(path: string): MountEntry {
  const mountpoint = mountpointPath(path);
  const entry = findMount(mountpoint);
  if (entry?.type === MOUNT_TYPE) return entry;
  const other = entry === undefined ? '' : `, but ${entry.source} (${entry.type}) is`;
  throw new MountError(`${mountpoint}: no vmdkfs image is mounted there${other}`);
}

/** @throws MountError when there is no usable /dev/fuse */
export function checkFuseDevice(): void {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    const code = codeOf(error);
    const hint =
      code === 'ENOENT'
        ? 'does not exist; load it with: modprobe fuse (in a container, pass the device in)'
        : 'may not be opened by this user; root can open it to all: chmod 666 /dev/fuse';
    throw new MountError(`/dev/fuse: ${hint}`);
  }
}
