/**
 * What the kernel allows a FUSE mount at first is small: 128 KiB of read-ahead, and 1 % of the dirty
 * pages with a strict limit, which holds buffered writers back. Root may raise it.
 */
import { writeFileSync } from 'node:fs';

/** As large as the largest request, so that reading ahead asks for whole ones. */
const READ_AHEAD_KIB = 1024;

/** Percent of all dirty pages that this mount may have; the default of disks. */
const MAX_RATIO = 100;

/**
 * Raises the limits of the mount whose device number is `device` (`major:minor`).
 *
 * @returns whether the system allowed it
 */
export function raiseMountLimits(device: string): boolean {
  const folder = `/sys/class/bdi/${device}`;
  try {
    writeFileSync(`${folder}/read_ahead_kb`, String(READ_AHEAD_KIB));
    writeFileSync(`${folder}/strict_limit`, '0');
    writeFileSync(`${folder}/max_ratio`, String(MAX_RATIO));
    return true;
  } catch {
    return false; // not root, no sysfs, or an old kernel without strict_limit
  }
}
