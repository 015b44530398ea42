/** Running a program of the system while nothing else goes on: for commands that serve nobody. */
import { spawnSync } from 'node:child_process';
import { toErrno, Errno } from '../errno.js';

/** Where tools for devices are; the PATH of a user may be without them. */
const SYSTEM_FOLDERS = '/usr/local/sbin:/usr/sbin:/sbin';

/** How a program ended. */
export interface ProgramResult {
  /** Its exit code; null where it was killed. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program to its end, its words in English; undefined where there is none that we may run.
 *
 * @param limit milliseconds after which it is killed
 * @throws the system's error where it cannot be started
 */
export function runProgramNow(
  name: string,
  args: readonly string[],
  limit: number,
): ProgramResult | undefined {
  const path = [process.env['PATH'], SYSTEM_FOLDERS].filter(Boolean).join(':');
  const { error, status, stderr, stdout } = spawnSync(name, args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', PATH: path },
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limit,
  });
  if (error === undefined || toErrno(error) === -Errno.ETIMEDOUT) return { status, stdout, stderr };
  if ([-Errno.ENOENT, -Errno.EACCES].includes(toErrno(error))) return undefined;
  throw error;
}
