/**
 * Reads and writes at a place of a file. Pinned memory (that of the request threads) goes straight
 * to pread(2) and pwrite(2), which is a quarter of a microsecond less than through `node:fs`;
 * everything else goes through `node:fs`.
 */
import { fdatasyncSync, readSync, writeSync } from 'node:fs';
import { Errno } from '../errno.js';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
} from '../file-flags.js';
import { libc, libcIfAny, loadedLibc } from './libc.js';
import { pinnedAddress } from './pinned-memory.js';
import { systemCallError } from './system-call-error.js';

/**
 * pread(2): reads at most `length` bytes into `target` from `targetOffset` on.
 *
 * @returns how many were read; 0 at the end of the file
 * @throws the system's error; `path` is for its message
 */
export function readAt(
  fd: number,
  target: Uint8Array,
  targetOffset: number,
  length: number,
  position: number,
  path: string,
): number {
  const address = pinnedAddress(target);
  if (address === undefined) return readSync(fd, target, targetOffset, length, position);
  const c = libc();
  for (;;) {
    const count = c.pread(fd, address + targetOffset, length, position);
    if (count >= 0) return count;
    const errno = c.errno();
    if (errno !== Errno.EINTR) throw systemCallError('pread', errno, path);
  }
}

/**
 * pwrite(2): writes at most `length` bytes of `source` from `sourceOffset` on.
 *
 * @returns how many were written
 * @throws the system's error; `path` is for its message
 */
export function writeAt(
  fd: number,
  source: Uint8Array,
  sourceOffset: number,
  length: number,
  position: number,
  path: string,
): number {
  const address = pinnedAddress(source);
  if (address === undefined) return writeSync(fd, source, sourceOffset, length, position);
  const c = libc();
  for (;;) {
    const count = c.pwrite(fd, address + sourceOffset, length, position);
    if (count >= 0) return count;
    const errno = c.errno();
    if (errno !== Errno.EINTR) throw systemCallError('pwrite', errno, path);
  }
}

const CANNOT_PUNCH: readonly number[] = [Errno.EOPNOTSUPP, Errno.ENOSYS, Errno.EINVAL];

/**
 * fdatasync(2): waits until everything written to the file is durable, its length included.
 *
 * @throws the system's error
 */
export function syncData(fd: number): void {
  fdatasyncSync(fd);
}

/**
 * Gives the space of `length` bytes at `position` back to the host; they read as zeros then, and
 * the file keeps its length.
 *
 * @returns false where the host's file system cannot, with nothing changed
 * @throws the system's error; `path` is for its message
 */
export function punchHole(fd: number, position: number, length: number, path: string): boolean {
  const c = loadedLibc();
  if (c === undefined) return false;
  const mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
  for (;;) {
    if (c.fallocate(fd, mode, position, length) === 0) return true;
    const errno = c.errno();
    // EINVAL: a block device, and a range that is not made of its blocks.
    if (CANNOT_PUNCH.includes(errno)) return false;
    if (errno !== Errno.EINTR) throw systemCallError('fallocate', errno, path);
  }
}

/** sync_file_range(2): start writing what is not being written yet, and do not wait for it. */
const SYNC_FILE_RANGE_WRITE = 2;

/**
 * Has the host start to write `length` bytes at `position` to storage, so that a later barrier finds
 * less to wait for. Only a hint: failures are left to that barrier.
 */
export function startWriteback(fd: number, position: number, length: number): void {
  loadedLibc()?.sync_file_range(fd, position, length, SYNC_FILE_RANGE_WRITE);
}

/**
 * Length in bytes of an open block device, which fstat(2) does not know.
 *
 * @throws the system's error; `path` is for its message
 */
export function seekEnd(fd: number, path: string): number {
  const c = libc();
  const length = c.lseek(fd, 0, SEEK_END);
  if (length < 0) throw systemCallError('lseek', c.errno(), path);
  return length;
}

/**
 * Makes the host set space aside for `length` bytes at `position`; what was not there reads as
 * zeros, and the file grows to hold it.
 *
 * @returns false where the host's file system cannot
 * @throws the system's error, ENOSPC included; `path` is for its message
 */
export function preallocate(fd: number, position: number, length: number, path: string): boolean {
  const c = libcIfAny();
  if (c === undefined) return false;
  for (;;) {
    if (c.fallocate(fd, 0, position, length) === 0) return true;
    const errno = c.errno();
    if (errno === Errno.EOPNOTSUPP || errno === Errno.ENOSYS) return false;
    if (errno !== Errno.EINTR) throw systemCallError('fallocate', errno, path);
  }
}

/** The first byte from `position` on that the host has data for, or `limit`. */
export function seekData(fd: number, position: number, limit: number): number {
  const c = loadedLibc();
  if (c === undefined) return position;
  const found = c.lseek(fd, position, SEEK_DATA);
  if (found >= 0) return Math.min(found, limit);
  // ENXIO: no data up to the end of the file. Where the host cannot tell, everything is data.
  return c.errno() === Errno.ENXIO ? limit : position;
}

/** The first byte from `position` on that the host has no data for, or `limit`. */
export function seekHole(fd: number, position: number, limit: number): number {
  const found = loadedLibc()?.lseek(fd, position, SEEK_HOLE) ?? limit;
  return found < 0 ? limit : Math.min(found, limit);
}
