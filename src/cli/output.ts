/** What commands print. Results go to stdout, everything for humans beside them to stderr. */
import { writeSync } from 'node:fs';

/**
 * Prints lines to stdout.
 *
 * @returns false where nobody reads them any more
 */
export function print(...lines: readonly string[]): boolean {
  return write(1, lines);
}

/** Prints lines to stderr. */
export function complain(...lines: readonly string[]): void {
  write(2, lines);
}

function write(fd: number, lines: readonly string[]): boolean {
  if (lines.length === 0) return true;
  try {
    writeSync(fd, lines.map((line) => `${line}\n`).join(''));
    return true;
  } catch (error) {
    // A reader that went away (`vmdkfs info x | head -1`) is no failure.
    if (!(error instanceof Error && 'code' in error && error.code === 'EPIPE')) throw error;
    return false;
  }
}
