/**
 * The files of an image while it is being opened: only regular files, never a device, FIFO or
 * directory by accident, and all of them closed again where opening fails. It also keeps count of
 * what opening them takes.
 *
 * Every file is opened for reading first, so that what it is decides whether it is written at all,
 * and opened again for writing where it is.
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
import { seekEnd } from '../os/file-io.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { HostFileDescription } from './host-file.js';

/** A file just opened; its length in bytes, and what identifies it on the host. */
export interface OpenedFile extends HostFileDescription {
  readonly length: number;
  readonly identity: string;
}

export class OpenedFiles {
  readonly #fds = new Set<number>();
  /** Those that are open for writing already. */
  readonly #adopted = new Set<number>();
  #tables = 0;

  /**
   * Opens a regular file, or where that is said a block device, for reading. O_NONBLOCK keeps a FIFO
   * that takes the file's place from hanging us.
   *
   * @throws VmdkError VMDK_NOT_A_FILE; the system's error
   */
  open(path: string, allowDevices = false): OpenedFile {
    assertKind(statSync(path), path, allowDevices);
    return this.#open(path, constants.O_RDONLY, allowDevices);
  }

  /** Takes over the descriptor of a file that was made just now, as it is: for reading and writing. */
  adopt(fd: number, path: string): OpenedFile {
    this.#fds.add(fd);
    this.#adopted.add(fd);
    const { dev, ino, size } = fstatSync(fd);
    return { fd, path, length: size, identity: `${dev}:${ino}` };
  }

  /**
   * Opens a file that is open for reading for writing too, in its place, or beside it where `keep`
   * says that the first is still needed. A block device that is mounted somewhere is busy then.
   *
   * @throws VmdkError VMDK_NOT_A_FILE where another file has taken its place; the system's error
   */
  openForWriting(file: OpenedFile, keep = false): OpenedFile {
    if (this.#adopted.has(file.fd)) return file;
    const isDevice = fstatSync(file.fd).isBlockDevice();
    assertWritable(file.path);
    const flags = constants.O_RDWR | (isDevice ? constants.O_EXCL : 0);
    const opened = this.#open(file.path, flags, isDevice);
    if (opened.identity !== file.identity) {
      throw new VmdkError('VMDK_NOT_A_FILE', file.path, 'was replaced while it was being opened');
    }
    if (!keep) this.close(file);
    return opened;
  }

  #open(path: string, flags: number, allowDevices: boolean): OpenedFile {
    const fd = openSync(path, flags | constants.O_NONBLOCK | constants.O_NOCTTY);
    this.#fds.add(fd);
    const stats = fstatSync(fd);
    assertKind(stats, path, allowDevices);
    const length = stats.isBlockDevice() ? seekEnd(fd, path) : stats.size;
    return { fd, path, length, identity: `${stats.dev}:${stats.ino}` };
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

  /** Closes a file that is not needed after all. */
  close(file: Pick<OpenedFile, 'fd'>): void {
    if (this.#fds.delete(file.fd)) closeSync(file.fd);
  }

  /** Closes everything opened so far; for a failed opening. */
  closeAll(): void {
    for (const fd of this.#fds) closeSync(fd);
    this.#fds.clear();
  }
}

/**
 * Checks that a file is of a kind that may be opened.
 *
 * @throws VmdkError VMDK_NOT_A_FILE
 */
export function assertKind(stats: Stats, path: string, allowDevices: boolean): void {
  if (stats.isFile() || (allowDevices && stats.isBlockDevice())) return;
  if (stats.isBlockDevice()) {
    throw new VmdkError(
      'VMDK_NOT_A_FILE',
      path,
      'is a block device; if the disk is meant to be on it, allow it with --allow-devices',
    );
  }
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
