/**
 * The timed flush. It runs in a thread of its own, on the same shared engine, so that waiting for
 * the disk blocks neither requests nor signals.
 */
import { describeError } from '../errno.js';
import { Worker } from 'node:worker_threads';
import { attachImage, threadEnded, type ImageDescription } from '../block/attach-image.js';
import { log } from './log.js';

/** How long a write may wait for its flush, milliseconds. */
const FLUSH_INTERVAL_MS = 1000;

const RUNNING = 0;
const STOPPED = 1;

export interface FlushWorkerData {
  readonly image: ImageDescription;
  /** One word: RUNNING, then STOPPED. */
  readonly control: SharedArrayBuffer;
}

/** Flushes once per interval until told to stop; a failure is logged when it is a new one. */
export function runFlushLoop({ image, control }: FlushWorkerData): void {
  const device = attachImage(image);
  const word = new Int32Array(control);
  let failure = '';
  while (Atomics.wait(word, 0, RUNNING, FLUSH_INTERVAL_MS) === 'timed-out') {
    try {
      device.flush();
      failure = '';
    } catch (error) {
      const message = describeError(error);
      if (message !== failure) log(`timed flush: ${message}`);
      failure = message;
    }
  }
}

export class FlushTimer {
  readonly #word: Int32Array;
  readonly #worker: Worker;
  /** Settles when the thread has ended; rejects when it ended by itself. */
  readonly ended: Promise<void>;

  constructor(image: ImageDescription) {
    const control = new SharedArrayBuffer(4);
    this.#word = new Int32Array(control);
    const workerData: FlushWorkerData = { image, control };
    this.#worker = new Worker(new URL('./flush-worker.js', import.meta.url), { workerData });
    const { threadId } = this.#worker;
    this.ended = new Promise((resolve, reject) => {
      this.#worker.once('error', reject);
      this.#worker.once('exit', () => {
        threadEnded(image, threadId);
        if (Atomics.load(this.#word, 0) === STOPPED) resolve();
        else reject(new Error('the flush thread ended by itself'));
      });
    });
  }

  /** Ends the thread after the flush it is in. */
  async stop(): Promise<void> {
    Atomics.store(this.#word, 0, STOPPED);
    Atomics.notify(this.#word, 0);
    await this.ended;
  }
}
