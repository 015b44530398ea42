/** From an opened image to a mounted tree that answers. */
import { describeError } from '../errno.js';
import { join } from 'node:path';
import type { OpenedImage } from '../block/open-image.js';
import { DiskFileSystem, initialMode } from '../fs/disk-file-system.js';
import { newDiskState } from '../fs/disk-state.js';
import { mountLibfuse } from '../fuse/libfuse/libfuse-transport.js';
import type { TransportOptions } from '../fuse/transport.js';
import { fileSize } from '../os/file-size.js';
import { readMountTable } from '../os/mount-table.js';
import { unmount } from '../os/unmount.js';
import { detachAborted } from './aborted-mount.js';
import { mountKernel, TransportUnavailable } from './kernel-transport.js';
import { log } from './log.js';
import { MountError } from './mount-error.js';
import type { MountRequest } from './mount-request.js';
import { modifiedAt } from './overlaid-image.js';
import { findOwnMount, ImageStillUsed, type MountedTree } from './own-mount.js';

/**
 * Mounts the tree of `image` over the transport of `request`; `auto` falls back to fuse-native.
 *
 * @param counters request counters with a slot for each thread of the request and one for this one
 * @throws MountError, with nothing left mounted; ImageStillUsed
 */
export async function mountTree(
  image: OpenedImage,
  mountpoint: string,
  request: MountRequest,
  counters: SharedArrayBuffer,
): Promise<MountedTree> {
  const options = {
    mountpoint,
    fsname: request.image,
    readOnly: image.device.readOnly,
    options: request.passed,
    state: newDiskState({
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      mode: initialMode(image.device),
      mtime: modifiedAt(request),
    }),
    counters,
    workers: request.workers,
    writebackCache: request.writebackCache,
    passthrough: request.passthrough,
    debug: request.debug,
  };
  try {
    if (request.transport === 'libfuse') return await mountOverLibfuse(image, options);
    return await mountKernel(image, options);
  } catch (error) {
    if (request.transport === 'auto' && error instanceof TransportUnavailable) {
      log(`${describeError(error)}; serving over fuse-native`);
      return mountTree(image, mountpoint, { ...request, transport: 'libfuse' }, counters);
    }
    const message = `${mountpoint}: could not be mounted: ${describeError(error)}`;
    if (error instanceof ImageStillUsed) throw new ImageStillUsed(message, error);
    throw new MountError(message, { cause: error });
  }
}

async function mountOverLibfuse(
  image: OpenedImage,
  options: TransportOptions & {
    readonly state: SharedArrayBuffer;
    readonly counters: SharedArrayBuffer;
  },
): Promise<MountedTree> {
  const fileSystem = new DiskFileSystem(image.device, {
    state: options.state,
    writebackCache: false,
    hasUncachedFiles: false,
    log,
  });
  const { fsname, mountpoint } = options;
  const before = readMountTable();
  try {
    const transport = await mountLibfuse(fileSystem, options);
    const mount = findOwnMount(mountpoint, fsname, before);
    const release = (): Promise<void> => detachAborted(mount);
    return { ...transport, mount, idle: Promise.allSettled([transport.ended]), release };
  } catch (error) {
    // An option that libfuse refuses, or a helper that dies, fails after the kernel has mounted.
    const left = findOwnMount(mountpoint, fsname, before);
    if (left !== undefined) await unmount(left, true);
    throw error;
  }
}

/**
 * Looks whether the mount answers.
 *
 * @throws MountError where it shows another size than `size` bytes
 */
export async function assertAnswers(mountpoint: string, size: number): Promise<void> {
  const file = join(mountpoint, 'disk.raw');
  const shown = await fileSize(file);
  if (shown === size) return;
  throw new MountError(`${file}: shows ${shown} bytes instead of ${size}`);
}
