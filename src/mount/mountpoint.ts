/** Checks of a mountpoint before anything is mounted, each with its own sentence. */
import { describeError } from '../errno.js';
import { accessSync, constants, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { findMount } from '../os/mount-table.js';
import { MountError } from './mount-error.js';

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
  if (realpathSync(image).startsWith(mountpoint.endsWith(sep) ? mountpoint : mountpoint + sep)) {
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
    return realpathSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOTCONN') {
      throw new MountError(
        `${path}: a server that died is still mounted there; run: vmdkfs unmount ${path}`,
      );
    }
    if (code === 'ENOENT') {
      throw new MountError(`${path}: does not exist; make the directory first`);
    }
    throw new MountError(`${path}: ${describeError(error)}`);
  }
}

/**
 * The path of what may be a mount, without links and without touching the mount itself: its server
 * may be dead.
 */
export function mountpointPath(path: string): string {
  const absolute = resolve(path);
  if (findMount(absolute) !== undefined) return absolute;
  try {
    const beside = join(realpathSync(dirname(absolute)), basename(absolute));
    return findMount(beside) === undefined ? realpathSync(absolute) : beside;
  } catch {
    return absolute; // there is no such path, and so no mount
  }
}

/** @throws MountError when there is no usable /dev/fuse */
export function checkFuseDevice(): void {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const hint =
      code === 'ENOENT'
        ? 'does not exist; load it with: modprobe fuse (in a container, pass the device in)'
        : 'may not be opened by this user; its mode should be 0666';
    throw new MountError(`/dev/fuse: ${hint}`);
  }
}
