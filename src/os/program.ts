/** Running programs of the system: found on the PATH, without a shell, their words in English. */
import { execFile } from 'node:child_process';
import { spawnedCommand } from './spawned-command.js';

/** How a program ended. */
export interface ProgramOutcome {
  readonly succeeded: boolean;
  /** What it said on stderr, or how it ended where it failed without a word. */
  readonly message: string;
  readonly stdout: string;
}

/**
 * Runs a program to its end; undefined where it is not installed.
 *
 * @param limit milliseconds after which it is killed, and not waited for: it may hang in the kernel
 */
export function runProgram(
  name: string,
  args: readonly string[],
  limit?: number,
): Promise<ProgramOutcome | undefined> {
  const env = { ...process.env, LC_ALL: 'C' };
  return new Promise((resolve) => {
    const command = spawnedCommand(name, args);
    const child = execFile(command.program, command.args, { env }, (error, stdout, stderr) => {
      clearTimeout(timer);
      if (error?.code === 'ENOENT' || command.isMissing(error?.code)) {
        resolve(undefined);
        return;
      }
      const said = stderr.trim();
      const ending = error === null ? '' : `${name}: ${error.signal ?? `exit code ${error.code}`}`;
      resolve({ succeeded: error === null, message: said === '' ? ending : said, stdout });
    });
    const end = (): void => {
      child.kill('SIGKILL');
      const message = `${name}: did not answer within ${limit} ms`;
      resolve({ succeeded: false, message, stdout: '' });
    };
    const timer = limit === undefined ? undefined : setTimeout(end, limit);
  });
}
