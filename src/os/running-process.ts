/** Whether a process still runs. */
import { readFileSync } from 'node:fs';

/**
 * Whether there is a process with the id `pid` that has not ended; one that has, and that nobody has
 * waited for, does not run.
 */
export function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    const [, state] = /\) (\S)[^)]*$/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return state !== undefined && !'ZXx'.includes(state);
  } catch {
    return false;
  }
}
