/** The size of a file that a mount of this process shows. */
import { runProgram } from './program.js';

/**
 * Asks for the size of `path` in another process. A thread of this one that waits for an answer of
 * its own mount cannot be killed, so it would keep a killed server, and the connection, for ever.
 *
 * @returns bytes
 * @throws what `stat` (coreutils) says
 */
export async function fileSize(path: string): Promise<number> {
  const outcome = await runProgram('stat', ['-c', '%s', '--', path]);
  if (outcome === undefined) throw new Error('stat is not installed (Debian package coreutils)');
  const size = Number(outcome.stdout.trim());
  if (outcome.succeeded && Number.isInteger(size)) return size;
  throw new Error(outcome.message.replace(/^stat: /, ''));
}
