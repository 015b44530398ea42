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

/** What `promise` settles with, or a failure with `what` was waited for after `milliseconds`. */
export async function within<T>(
  what: string,
  milliseconds: number,
  promise: Promise<T>,
): Promise<T> {
  const timer = new AbortController();
  const tooLate = sleep(milliseconds, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`waited in vain until ${what}`);
  });
  // Nobody waits for it any more where it was not needed.
  tooLate.catch(() => undefined);
  try {
    return await Promise.race([promise, tooLate]);
  } finally {
    timer.abort();
  }
}
