/**
 * Starting programs with words that are no text: Node gives a program text only, so a shell makes such
 * words from the numbers of their bytes.
 */
import { bytesOfPath, isPlainText } from '../binary/path-text.js';

/** What a shell ends with that has not found its program (POSIX, `sh`). */
const NOT_FOUND = 127;

/** A program as Node starts it. */
export interface SpawnedCommand {
  readonly program: string;
  readonly args: readonly string[];
  /** Whether an exit code says that there is no such program. */
  readonly isMissing: (code: unknown) => boolean;
}

/** How `program` is started with `words`, paths as text among them. */
export function spawnedCommand(program: string, words: readonly string[]): SpawnedCommand {
  if (words.every(isPlainText)) return { program, args: words, isMissing: () => false };
  // A shell takes line ends off what a command prints, so something stands behind them.
  const made = words.map(
    (word) => `word=$(printf '${octal(bytesOfPath(word))}x'); set -- "$@" "\${word%x}"`,
  );
  const isThere = `command -v ${program} >/dev/null 2>&1 || exit ${NOT_FOUND}`;
  const script = [isThere, ...made, `exec ${program} "$@"`].join('\n');
  return { program: 'sh', args: ['-c', script, program], isMissing: (code) => code === NOT_FOUND };
}

function octal(bytes: Buffer): string {
  return [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}
