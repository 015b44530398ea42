/** Numbers of Linux file calls that Node does not name, the same on every architecture we run on. */
import { constants } from 'node:fs';

/** open(2): closed in programs that are started. */
export const O_CLOEXEC = 0o2000000;

/** fallocate(2): keep the length of the file. */
export const FALLOC_FL_KEEP_SIZE = 1;
/** fallocate(2): give the space back. */
export const FALLOC_FL_PUNCH_HOLE = 2;
/** fallocate(2): make a range read as zeros. */
export const FALLOC_FL_ZERO_RANGE = 16;

/** lseek(2): to the end of the file. */
export const SEEK_END = 2;
/** lseek(2): to the next data. */
export const SEEK_DATA = 3;
/** lseek(2): to the next hole. */
export const SEEK_HOLE = 4;

/** The bits of the flags of an open that say that the file may be written. */
export const WRITE_ACCESS = constants.O_WRONLY | constants.O_RDWR;

/** Whether a file opened with `flags` (O_*) may be written. */
export function mayWrite(flags: number): boolean {
  return (flags & WRITE_ACCESS) !== 0;
}
