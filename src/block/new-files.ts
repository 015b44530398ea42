/**
 * The files of an image that is being made: none of them existed before, all of them are durable
 * before the image is done, and where a step fails all of them are gone again.
 */
import { closeSync, constants, fsyncSync } from 'node:fs';
import { dirname } from 'node:path';
import { openSync, rmSync, absolutePath } from '../os/host-fs.js';
import { Errno, toErrno } from '../errno.js';
import { HostFile } from './host-file.js';

export class NewFiles {
  readonly #paths: string[] = [];

  /**
   * Makes the file at `path`, has `fill` write it, and makes it durable.
   *
   * @throws EEXIST where there is one; the system's error
   */
  create(path: string, fill: (file: HostFile) => void): void {
    const fd = openSync(path, 'wx');
    this.#paths.push(path);
    try {
      fill(new HostFile({ fd, path }));
      fsyncSync(fd);
    } catch (error) {
      throw withPath(error, path);
    } finally {
      closeSync(fd);
    }
  }

  /** Makes the names of the files durable. */
  syncFolders(): void {
    for (const folder of new Set(this.#paths.map((path) => dirname(absolutePath(path))))) {
      syncFolder(folder);
    }
  }

  /** Removes what was made; for a failed making. */
  removeAll(): void {
    for (const path of this.#paths.splice(0)) rmSync(path, { force: true });
  }
}

/** Node's errors of calls on an open file do not say which file it is; messages are to. */
export function withPath(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || 'path' in error) return error;
  return Object.assign(error, { path });
}

/** Makes the names in `folder` durable, where its file system can. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } catch (error) {
    // Some network and FUSE file systems have no barrier for folders.
    const errno = toErrno(error);
    if (errno !== -Errno.EINVAL && errno !== -Errno.ENOSYS) throw error;
  } finally {
    closeSync(fd);
  }
}
