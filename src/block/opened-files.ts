/**
 * The files of an image while it is being opened: only regular files, never a device, FIFO or
 * directory by accident, and all of them closed again where opening fails.
 */
import { closeSync, constants, fstatSync, openSync, statSync, type Stats } from 'node:fs';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { HostFileDescription } from './host-file.js';

/** A file just opened; its length in bytes, and what identifies it on the host. */
export interface OpenedFile extends HostFileDescription {
  readonly length: number;
  readonly identity: string;
}

export class OpenedFiles {
  readonly #fds: number[] = [];

  /**
   * Opens a regular file. O_NONBLOCK keeps a FIFO that takes the file's place from hanging us.
   *
   * @throws VmdkError VMDK_NOT_A_FILE; the system's error
   */
  open(path: string, readOnly: boolean): OpenedFile {
    assertRegular(statSync(path), path);
    const access = readOnly ? constants.O_RDONLY : constants.O_RDWR;
    const fd = openSync(path, access | constants.O_NONBLOCK | constants.O_NOCTTY);
    this.#fds.push(fd);
    const stats = fstatSync(fd);
    assertRegular(stats, path);
    return { fd, path, length: stats.size, identity: `${stats.dev}:${stats.ino}` };
  }

  /** Closes everything opened so far; for a failed opening. */
  closeAll(): void {
    for (const fd of this.#fds.splice(0)) closeSync(fd);
  }
}

function assertRegular(stats: Stats, path: string): void {
  if (stats.isFile()) return;
  const found = stats.isDirectory() ? 'a directory' : 'not a regular file';
  throw new VmdkError('VMDK_NOT_A_FILE', path, `is ${found} (a VMDK file expected)`);
}
