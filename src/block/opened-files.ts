/**
 * The files of an image while it is being opened: only regular files, never a device, FIFO or
 * directory by accident, and all of them closed again where opening fails. It also keeps count of
 * what opening them takes.
 */
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  openSync,
  statSync,
  type Stats,
} from 'node:fs';
import { DIRECTORY_ENTRIES_MAX } from '../vmdk/limits.js';
import { systemError } from '../errno.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { HostFileDescription } from './host-file.js';

/** A file just opened; its length in bytes, and what identifies it on the host. */
export interface OpenedFile extends HostFileDescription {
  readonly length: number;
  readonly identity: string;
}

export class OpenedFiles {
  readonly #fds: number[] = [];
  #tables = 0;

  /**
   * Opens a regular file. O_NONBLOCK keeps a FIFO that takes the file's place from hanging us.
   *
   * @throws VmdkError VMDK_NOT_A_FILE; the system's error
   */
  open(path: string, readOnly: boolean): OpenedFile {
    assertRegular(statSync(path), path);
    if (!readOnly) assertWritable(path);
    const access = readOnly ? constants.O_RDONLY : constants.O_RDWR;
    const fd = openSync(path, access | constants.O_NONBLOCK | constants.O_NOCTTY);
    this.#fds.push(fd);
    const stats = fstatSync(fd);
    assertRegular(stats, path);
    return { fd, path, length: stats.size, identity: `${stats.dev}:${stats.ino}` };
  }

  /**
   * Counts the grain tables of one more extent: what is kept of them while opening is bounded for
   * the whole image, however many extents and parents it has.
   *
   * @throws VmdkError VMDK_BAD_CAPACITY
   */
  claimTables(count: number, path: string): void {
    this.#tables += count;
    if (count > 0 && this.#tables <= DIRECTORY_ENTRIES_MAX) return;
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      path,
      `its capacity needs ${count} grain tables, ${this.#tables} with those before it (1 to ${DIRECTORY_ENTRIES_MAX} expected)`,
    );
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

/** Says of a file that may be read but not written how it can be mounted all the same. */
function assertWritable(path: string): void {
  accessSync(path, constants.R_OK);
  try {
    accessSync(path, constants.W_OK);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const name = code === 'EROFS' ? 'EROFS' : 'EACCES';
    throw systemError(name, `${path}: may not be written; it can be mounted with -o ro`);
  }
}
