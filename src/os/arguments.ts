/** The arguments of this process as they were given. */
import { readFileSync } from 'node:fs';
import { pathOfBytes } from '../binary/path-text.js';

/**
 * `process.argv` with the bytes that are no text: Node puts a sign in their place. It is to be called
 * before the title of the process changes.
 */
export function processArguments(): string[] {
  const { argv } = process;
  if (!argv.some((argument) => argument.includes('\ufffd'))) return [...argv];
  const words: Buffer[] = [];
  const line = readFileSync('/proc/self/cmdline');
  for (let at = 0; at < line.length;) {
    const end = line.indexOf(0, at);
    words.push(line.subarray(at, end < 0 ? line.length : end));
    at = end < 0 ? line.length : end + 1;
  }
  // Node's own options stand before the program.
  const own = words.slice(words.length - (argv.length - 2)).map(pathOfBytes);
  return [...argv.slice(0, 2), ...own];
}
