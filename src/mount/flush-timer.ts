/**
 * The timed flush, and the end of an image. Both run in a thread of their own, on the same shared
 * engine: waiting for the disk, which may not answer at all, blocks neither requests nor signals.
 */
import { describeError, isTold } from '../errno.js';
import { once } from 'node:events';
import { Worker, type MessagePort } from 'node:worker_threads';
import { attachImage, threadEnded, type ImageDescription } from '../block/attach-image.js';
import { log } from './log.js';

/** How long a write may wait for its flush, milliseconds. */
const FLUSH_INTERVAL_MS = 1000;

// What the thread is told.
const NOTHING = 0;
const FLUSH = 1;
const CLOSE = 2;

export interface FlushWorkerData {
  readonly image: ImageDescription;
  /** One word: NOTHING, FLUSH or CLOSE. */
  readonly control: SharedArrayBuffer;
  /** One Float64: gets the bytes allocated, after every flush. */
  readonly allocated: SharedArrayBuffer;
}

/**
 * Flushes once per interval until told to close the image, and looks whether its files are still
 * what they were; a failure is logged when it is a new one. A flush that was asked for is answered with a message, '' or why it failed.
 *
 * @throws the error of closing
 */
export function runFlushLoop(data: FlushWorkerData, port: MessagePort): void {
  const { allocated, control, image } = data;
  const device = attachImage(image);
  const bytes = new Float64Array(allocated);
  const word = new Int32Array(control);
  let failure = '';
  for (;;) {
    Atomics.wait(word, 0, NOTHING, FLUSH_INTERVAL_MS);
    const told = Atomics.compareExchange(word, 0, FLUSH, NOTHING);
    if (told === CLOSE) break;
    let message = '';
    try {
      for (const notice of device.watchFiles()) log(notice);
      device.flush();
      bytes[0] = device.allocatedBytes();
    } catch (error) {
      message = describeError(error);
      if (message !== failure && !isTold(error)) log(`flush: ${message}`);
    }
    failure = message;
    if (told === FLUSH) port.postMessage(message);
  }
  device.close();
}

export class FlushTimer {
  readonly #word: Int32Array;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #hasEnded = false;
  /** Rejects when the thread ends by itself. */
  readonly died: Promise<never>;

  /** @param allocated one Float64, which is kept up to date with the bytes allocated */
  constructor(image: ImageDescription, allocated: SharedArrayBuffer) {
    const control = new SharedArrayBuffer(4);
    this.#word = new Int32Array(control);
    const workerData: FlushWorkerData = { image, control, allocated };
    this.#worker = new Worker(new URL('./flush-worker.js', import.meta.url), {
      workerData,
      // It closes what the main thread has opened, which Node would warn of.
      trackUnmanagedFds: false,
    });
    const { threadId } = this.#worker;
    this.#ended = new Promise<void>((resolve, reject) => {
      this.#worker.once('error', reject);
      this.#worker.once('exit', () => {
        this.#hasEnded = true;
        threadEnded(image, threadId);
        if (this.#isClosing) resolve();
        else reject(new Error('the flush thread ended by itself'));
      });
    });
    this.died = new Promise((_, reject) => {
      this.#ended.catch((error: unknown) => {
        if (!this.#isClosing)
          reject(new Error(`flushing: ${describeError(error)}`, { cause: error }));
      });
    });
  }

  /** Whether somebody is there to flush and to close the image. */
  get isAlive(): boolean {
    return !this.#hasEnded;
  }

  get #isClosing(): boolean {
    return Atomics.load(this.#word, 0) === CLOSE;
  }

  /**
   * Flushes; where the image is being closed, that is it.
   *
   * @throws why it failed
   */
  async flush(): Promise<void> {
    if (this.#isClosing || this.#hasEnded) return this.#ended;
    const answer = once(this.#worker, 'message');
    this.#tell(FLUSH);
    const [failure] = (await Promise.race([answer, this.died])) as [string];
    if (failure !== '') throw new Error(failure);
  }

  /** Closes the image, after the flush that is under way, and ends the thread. */
  async close(): Promise<void> {
    this.#tell(CLOSE);
    await this.#ended;
  }

  #tell(what: number): void {
    Atomics.store(this.#word, 0, what);
    Atomics.notify(this.#word, 0);
  }
}
