/** Standing back when the kernel runs out of memory and looks for a process to kill. */
import { readFileSync, writeFileSync } from 'node:fs';

const FILE = '/proc/self/oom_score_adj';

/** As for other daemons that the system stands on. Less than 0 needs CAP_SYS_RESOURCE. */
const SPARED = -500;

/**
 * Asks the kernel to kill this process late: what it holds is on its way to a disk. A score below 0
 * that somebody has chosen already stays; one above 0, which sessions of users give to all of their
 * programs, becomes 0 where -500 is not permitted.
 *
 * @returns the score now, undefined where there is none
 */
export function askToBeSpared(): number | undefined {
  const given = read();
  if (given === undefined || given < 0) return given;
  if (!write(SPARED) && given > 0) write(0);
  return read();
}

function read(): number | undefined {
  try {
    return Number(readFileSync(FILE, 'utf8'));
  } catch {
    return undefined;
  }
}

function write(score: number): boolean {
  try {
    writeFileSync(FILE, String(score));
    return true;
  } catch {
    return false;
  }
}
