import { constants } from 'node:os';
import { visiblePath } from './binary/path-text.js';

/** Errno numbers by name, positive as in `errno.h`. */
export const Errno = constants.errno;

/**
 * The negative errno that stands for a failure of any kind: whatever carries a negative `errno`
 * (Node's own errors and `VmdkError` do) is answered with it, everything else is EIO.
 */
export function toErrno(error: unknown): number {
  const errno = error instanceof Error && 'errno' in error ? error.errno : undefined;
  return typeof errno === 'number' && errno < 0 ? errno : -Errno.EIO;
}

/** An error of ours that carries a code and a negative errno as Node's own system errors do. */
export function systemError(name: keyof typeof Errno, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code: name, errno: -Errno[name] });
}

/** The same, for what the user has been told already: it is not logged again. */
export function toldError(name: keyof typeof Errno, message: string): NodeJS.ErrnoException {
  return Object.assign(systemError(name, message), { isTold: true });
}

/** Whether `toldError` made an error. */
export function isTold(error: unknown): boolean {
  return error instanceof Error && 'isTold' in error;
}

/**
 * A failure in words for the user, on one line and without control characters: names come from
 * images and may hold any. Node's own `ENOENT: no such file or directory, open '/x'` becomes
 * `/x: no such file or directory`.
 */
export function describeError(error: unknown): string {
  return printable(wordsOf(error));
}

/**
 * `text` with a `?` for every control character, so that it cannot steer a terminal, and with `\xE9`
 * for a byte of a path that is no text.
 */
export function printable(text: string): string {
  return visiblePath(text).replaceAll(/\p{Cc}/gu, '?');
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const path = 'path' in error && typeof error.path === 'string' ? error.path : undefined;
  const words = /^[A-Z0-9]+: (?<words>[^,]+), /.exec(error.message)?.groups?.['words'];
  return path === undefined || words === undefined ? error.message : `${path}: ${words}`;
}
