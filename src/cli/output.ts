/**
 * What commands print, all of it: results go to stdout, everything for humans beside them to stderr.
 * A write may take less than it is given (a pipe that does not wait for its reader, a disk that is
 * nearly full), so what is left is written again until nothing is.
 */
import { writeSync } from 'node:fs';
import { visiblePath } from '../binary/path-text.js';
import { Errno, systemError, toErrno } from '../errno.js';

/** How long is waited for a reader, milliseconds. */
const WAIT_MS = 5;

/**
 * Prints lines to stdout.
 *
 * @returns false where nobody reads them any more
 * @throws the system's error where not all could be written
 */
export function print(...lines: readonly string[]): boolean {
  return printText(textOf(lines));
}

/** The same for text that has its line ends. */
export function printText(text: string): boolean {
  try {
    writeAll(1, text);
    return true;
  } catch (error) {
    // A reader that went away (`vmdkfs info x | head -1`) is no failure.
    if (toErrno(error) === -Errno.EPIPE) return false;
    throw Object.assign(error as Error, { path: 'standard output' });
  }
}

/** Prints lines to stderr. */
export function complain(...lines: readonly string[]): void {
  complainText(textOf(lines));
}

/** The same for text that has its line ends. */
export function complainText(text: string): void {
  try {
    writeAll(2, text);
  } catch {
    // There is nobody to say it to; the exit code says how it went.
  }
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${visiblePath(line)}\n`).join('');
}

/** @throws the system's error; EIO where the system takes nothing and does not say why */
function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) {
    const count = writeSome(fd, bytes.subarray(done));
    if (count === 0) throw systemError('EIO', 'EIO: i/o error, write');
    done += count;
  }
}

/** Writes some of `bytes`, when there is room for them; how many. */
function writeSome(fd: number, bytes: Uint8Array): number {
  for (;;) {
    try {
      return writeSync(fd, bytes);
    } catch (error) {
      const errno = toErrno(error);
      if (errno !== -Errno.EAGAIN && errno !== -Errno.EINTR) throw error;
      // Whoever made this pipe does not let us wait in the write.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS);
    }
  }
}
