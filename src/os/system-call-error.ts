/** Failures of C calls in the shape of Node's own. */
import { getSystemErrorMap } from 'node:util';

/**
 * The error for a call that failed, as Node's `fs` would have thrown it.
 *
 * @param errno positive, as in `errno.h`
 * @param path what the call was about, for messages
 */
export function systemCallError(
  syscall: string,
  errno: number,
  path: string,
): NodeJS.ErrnoException {
  const [code, words] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, `error ${errno}`];
  const error = new Error(`${code}: ${words}, ${syscall} '${path}'`);
  return Object.assign(error, { errno: -errno, code, syscall, path });
}
