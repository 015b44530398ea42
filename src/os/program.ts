/** Running programs of the system: found on the PATH, without a shell, their words in English. */
import { execFile } from 'node:child_process';

/** How a program ended. */
export interface ProgramOutcome {
  readonly succeeded: boolean;
  /** What it said on stderr, or how it ended where it failed without a word. */
  readonly message: string;
  readonly stdout: string;
}

/** Runs a program to its end; undefined where it is not installed. */
export function runProgram(
  name: string,
  args: readonly string[],
): Promise<ProgramOutcome | undefined> {
  const env = { ...process.env, LC_ALL: 'C' };
  return new Promise((resolve) => {
    execFile(name, args, { env }, (error, stdout, stderr) => {
      if (error?.code === 'ENOENT') {
        resolve(undefined);
        return;
      }
      const said = stderr.trim();
      const ending = error === null ? '' : `${name}: ${error.signal ?? `exit code ${error.code}`}`;
      resolve({ succeeded: error === null, message: said === '' ? ending : said, stdout });
    });
  });
}
