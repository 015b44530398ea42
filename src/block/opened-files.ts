/**
 * The files of an image while it is being opened: only regular files, never a device, FIFO or
 * directory by accident, and all of them closed again where opening fails. It also keeps count of
 * what opening them takes.
 *
 * Every file is opened for reading first, so that what it is decides whether it is written at all,
 * and opened again for writing where it is. Where files are locked, each is locked between open(2)
 * and the first look at it; another program may have changed it until then.
 */
import { closeSync, constants, fstatSync, type Stats } from 'node:fs';
import { accessSync, openSync, statSync } from '../os/host-fs.js';
import { DIRECTORY_ENTRIES_MAX } from '../vmdk/limits.js';
import { systemError } from '../errno.js';
import { seekEnd } from '../os/file-io.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { HostFile, type HostFileDescription } from './host-file.js';
import type { FileLocks, LockedFile } from './image-locks.js';

/** A file just opened; its length in bytes, and what identifies it on the host. */
export interface OpenedFile extends HostFileDescription {
  readonly length: number;
  readonly identity: string;
}

/** How often a file is opened again whose name led to another one when it was locked. */
const ATTEMPTS = 5;

export class OpenedFiles {
  /** By their descriptors. */
  readonly #files = new Map<number, LockedFile>();
  readonly #locks: FileLocks | undefined;
  /** Those that are open for writing already. */
  readonly #adopted = new Set<number>();
  #tables = 0;

  readonly #remarks = new Set<string>();

  /** @param locks take the files for this program; undefined where they are not to be locked */
  constructor(locks?: FileLocks) {
    this.#locks = locks;
  }

  /**
   * Opens a regular file, or where that is said a block device, for reading. O_NONBLOCK keeps a FIFO
   * that takes the file's place from hanging us.
   *
   * @throws VmdkError VMDK_NOT_A_FILE, VMDK_IN_USE, VMDK_NO_LOCKS; the system's error
   */
  open(path: string, allowDevices = false): OpenedFile {
    assertKind(statSync(path), path, allowDevices);
    return this.#open(path, constants.O_RDONLY, allowDevices);
  }

  /**
   * Opens a regular file for reading and writing at once.
   *
   * @throws VmdkError VMDK_NOT_A_FILE, VMDK_IN_USE, VMDK_NO_LOCKS; the system's error
   */
  openReadWrite(path: string): OpenedFile {
    assertKind(statSync(path), path, false);
    return this.#open(path, constants.O_RDWR, false);
  }

  /** Takes over the descriptor of a file as it is: open for reading and writing, not locked. */
  adopt(fd: number, path: string): OpenedFile {
    const stats = fstatSync(fd);
    const file = { fd, path, identity: identityOf(stats) };
    this.#files.set(fd, file);
    this.#adopted.add(fd);
    return { ...file, length: stats.size };
  }

  /**
   * Locks a file that is open for writing too; nothing happens where files are not to be locked.
   *
   * @throws VmdkError VMDK_IN_USE, VMDK_NO_LOCKS
   */
  lockForWriting(file: OpenedFile): void {
    this.#locks?.lock(file, true);
  }

  /**
   * Opens a file that is open for reading for writing too, in its place, or beside it where `keep`
   * says that the first is still needed. A block device that is mounted somewhere is busy then.
   *
   * @throws VmdkError VMDK_NOT_A_FILE where another file has taken its place, VMDK_IN_USE,
   *   VMDK_NO_LOCKS; the system's error
   */
  openForWriting(file: OpenedFile, keep = false): OpenedFile {
    if (this.#adopted.has(file.fd)) return file;
    const isDevice = fstatSync(file.fd).isBlockDevice();
    assertWritable(file.path);
    const flags = constants.O_RDWR | (isDevice ? constants.O_EXCL : 0);
    const opened = this.#open(file.path, flags, isDevice);
    if (opened.identity !== file.identity) throw replaced(file.path);
    if (!keep) this.close(file);
    return opened;
  }

  #open(path: string, flags: number, allowDevices: boolean): OpenedFile {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const fd = openSync(path, flags | constants.O_NONBLOCK | constants.O_NOCTTY);
      const file = { fd, path, identity: identityOf(fstatSync(fd)) };
      this.#files.set(fd, file);
      this.#locks?.lock(file, (flags & constants.O_RDWR) !== 0);
      // Whoever had it may have put another file in its place meanwhile.
      if (this.#locks !== undefined && identityOf(statSync(path)) !== file.identity) {
        this.close(file);
        continue;
      }
      const stats = fstatSync(fd);
      assertKind(stats, path, allowDevices);
      const length = stats.isBlockDevice() ? seekEnd(fd, path) : stats.size;
      return { ...file, length };
    }
    throw replaced(path);
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

  /** Notes what the user should know of where files were found. */
  remark(sentence: string): void {
    this.#remarks.add(sentence);
  }

  /** What was noted since it was asked for the last time. */
  takeRemarks(): readonly string[] {
    const remarks = [...this.#remarks];
    this.#remarks.clear();
    return remarks;
  }

  /** Closes a file that is not needed after all. */
  close({ fd }: Pick<OpenedFile, 'fd'>): void {
    const file = this.#files.get(fd);
    if (file === undefined) return;
    this.#files.delete(fd);
    this.#locks?.release(file);
    closeSync(fd);
  }

  /** Closes everything opened so far; for a failed opening. */
  closeAll(): void {
    for (const file of this.#files.values()) this.close(file);
  }
}

/**
 * The length of an open file now, in bytes: a program that has it open for writing, and was not kept
 * from it, makes it longer while it is being looked at.
 */
export function lengthNow(file: OpenedFile): number {
  return Math.max(file.length, new HostFile(file).length());
}

/** What identifies a file on the host. */
function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

/** The refusal of a file that became another one between two looks at it. */
export function replaced(path: string): VmdkError {
  return new VmdkError('VMDK_NOT_A_FILE', path, 'was replaced while it was being opened');
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
  throw new VmdkError('VMDK_NOT_A_FILE', path, `is ${kindOf(stats)}`);
}

/** What a file is that is no file of bytes, and what to do. */
function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory (a VMDK file expected); name the file in it';
  if (stats.isFIFO()) {
    return 'a FIFO (named pipe), not a regular file; save what comes out of it as a file first';
  }
  const found = stats.isSocket() ? 'a socket' : 'a character device';
  return `${found}, not a regular file; name a VMDK file instead`;
}

/** Says of a file that may be read but not written how it can be mounted all the same. */
function assertWritable(path: string): void {
  accessSync(path, constants.R_OK);
  const refusal = writeRefusal(path);
  if (refusal === undefined) return;
  const name = refusal === 'EROFS' ? 'EROFS' : 'EACCES';
  throw systemError(name, `${path}: may not be written; it can be mounted with -o ro`);
}

/** Why nothing can be written where a file is, whoever asks; undefined where it can. */
export function hostReadOnlyReason({ path }: OpenedFile): string | undefined {
  return writeRefusal(path) === 'EROFS' ? 'its file system on the host is read-only' : undefined;
}

/** The code of the error that writing to a file would end with; undefined where it may be written. */
function writeRefusal(path: string): unknown {
  try {
    accessSync(path, constants.W_OK);
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : 'EACCES';
  }
}
