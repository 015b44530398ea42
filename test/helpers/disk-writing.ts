import { check } from './run.js';

/** Writes `mib` MiB of random bytes to a disk from MiB `at` on, synced. */
export function writeRandom(disk: string, mib: number, at: number): Promise<string> {
  return check(
    ...['dd', 'if=/dev/urandom', `of=${disk}`, 'bs=1M', `count=${mib}`, `seek=${at}`],
    ...['conv=notrunc,fsync', 'status=none'],
  );
}
