import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until `isSo`, or fails with `what` was waited for after `milliseconds`. */
export async function until(
  what: string,
  milliseconds: number,
  isSo: () => boolean,
): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`);
    await sleep(10);
  }
}
