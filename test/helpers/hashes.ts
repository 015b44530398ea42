import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** The hash of each file. */
export function hashes(files: readonly string[]): string[] {
  return files.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
}
