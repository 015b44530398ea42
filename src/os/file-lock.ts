/**
 * Locks on single bytes of a file that belong to its open file description (fcntl(2), OFD locks):
 * they are there as long as the descriptor is open, whichever threads use it, and go with it, also
 * when the process is killed.
 */
import { bytes, i64, struct, u16, u32, viewOf } from '../binary/struct.js';
import { Errno } from '../errno.js';
import { libc } from './libc.js';
import { systemCallError } from './system-call-error.js';

/** `struct flock` of 64-bit Linux. */
const Flock = struct('flock', 32, {
  type: u16,
  whence: u16,
  padding: bytes(4),
  start: i64,
  length: i64,
  pid: u32,
  end: bytes(4),
});

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/**
 * Takes a shared lock on byte `position`; the file has to be open for reading.
 *
 * @returns false where somebody else has it for himself
 * @throws the system's error where the file system has no locks
 */
export function lockByte(fd: number, position: number, path: string): boolean {
  const errno = control(fd, F_OFD_SETLK, flock(F_RDLCK, position));
  if (errno === 0) return true;
  if (errno === Errno.EAGAIN || errno === Errno.EACCES) return false;
  throw systemCallError('fcntl', errno, path);
}

/**
 * Gives the lock on byte `position` back; nothing happens where there is none.
 *
 * @throws the system's error where the file system has no locks
 */
export function unlockByte(fd: number, position: number, path: string): void {
  const errno = control(fd, F_OFD_SETLK, flock(F_UNLCK, position));
  if (errno !== 0) throw systemCallError('fcntl', errno, path);
}

/**
 * Whether somebody else has a lock of any kind on byte `position`.
 *
 * @throws the system's error where the file system has no locks
 */
export function isByteLocked(fd: number, position: number, path: string): boolean {
  const lock = flock(F_WRLCK, position);
  const errno = control(fd, F_OFD_GETLK, lock);
  if (errno !== 0) throw systemCallError('fcntl', errno, path);
  return Flock.type.get(viewOf(lock), 0) !== F_UNLCK;
}

function flock(type: number, start: number): Uint8Array {
  const lock = new Uint8Array(Flock.byteLength);
  const view = viewOf(lock);
  Flock.type.set(view, 0, type);
  Flock.start.set(view, 0, start);
  Flock.length.set(view, 0, 1);
  return lock;
}

/** The positive errno of fcntl(2), or 0. */
function control(fd: number, command: number, lock: Uint8Array): number {
  const c = libc();
  for (;;) {
    if (c.fcntl(fd, command, 'uintptr_t', c.addressOf(lock)) === 0) return 0;
    const errno = c.errno();
    if (errno !== Errno.EINTR) return errno;
  }
}
