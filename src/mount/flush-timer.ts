/**
 * The timed flush, and the end of an image. Both run in a thread of their own, on the same shared
 * engine: waiting for the disk, which may not answer at all, blocks neither requests nor signals.
 */
import { describeError, isTold } from '../errno.js';
import { Worker, type MessagePort } from 'node:worker_threads';
import { attachImage, threadEnded, type ImageDescription } from '../block/attach-image.js';
import { log } from './log.js';

/** How long a write may wait for its flush, milliseconds. */
const FLUSH_INTERVAL_MS = 1000;

// Words (Int32) that tell the thread what to do.
/** How many flushes were asked for; grows also when the thread is told to close. */
const ASKED = 0;
/** 1 when the image is to be closed. It stays: nothing that is asked for later may hide it. */
const CLOSING = 1;
const WORDS = 2;

export interface FlushWorkerData {
  readonly image: ImageDescription;
  /** WORDS words. */
  readonly control: SharedArrayBuffer;
  /** One Float64: gets the bytes allocated, after every flush. */
  readonly allocated: SharedArrayBuffer;
}

/** What the thread says of the flushes that were asked for. */
interface FlushAnswer {
  /** So many of them are done. */
  readonly done: number;
  /** '' or why they failed. */
  readonly failure: string;
}

/**
 * Flushes once per interval until told to close the image, and looks whether its files are still
 * what they were; a failure is logged when it is a new one. Flushes that were asked for are answered
 * with a message.
 *
 * @throws the error of closing
 */
export function runFlushLoop(data: FlushWorkerData, port: MessagePort): void {
  const { allocated, control, image } = data;
  const device = attachImage(image);
  const bytes = new Float64Array(allocated);
  const words = new Int32Array(control);
  let failure = '';
  for (let done = 0; ;) {
    Atomics.wait(words, ASKED, done, FLUSH_INTERVAL_MS);
    const asked = Atomics.load(words, ASKED);
    if (Atomics.load(words, CLOSING) === 1) break;
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
    if (asked !== done) port.postMessage({ done: asked, failure } satisfies FlushAnswer);
    done = asked;
  }
  device.close();
}

export class FlushTimer {
  readonly #words: Int32Array;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #hasEnded = false;
  /** Rejects when the thread ends by itself. */
  readonly died: Promise<never>;

  /** @param allocated one Float64, which is kept up to date with the bytes allocated */
  constructor(image: ImageDescription, allocated: SharedArrayBuffer) {
    const control = new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT);
    this.#words = new Int32Array(control);
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
        if (this.isClosing) resolve();
        else reject(new Error('the flush thread ended by itself'));
      });
    });
    this.died = new Promise((_, reject) => {
      this.#ended.catch((error: unknown) => {
        if (!this.isClosing)
          reject(new Error(`flushing: ${describeError(error)}`, { cause: error }));
      });
    });
  }

  /** Whether somebody is there to flush and to close the image. */
  get isAlive(): boolean {
    return !this.#hasEnded;
  }

  /** Whether the image is being closed, or is closed. */
  get isClosing(): boolean {
    return Atomics.load(this.#words, CLOSING) === 1;
  }

  /**
   * Flushes; where the image is being closed, or is closed before it was this flush's turn, that is
   * it.
   *
   * @throws why it failed
   */
  async flush(): Promise<void> {
    if (this.isClosing || this.#hasEnded) return this.#ended;
    await Promise.race([this.#answerTo(this.#ask()), this.#ended]);
  }

  /** Closes the image, after the flush that is under way, and ends the thread. */
  async close(): Promise<void> {
    Atomics.store(this.#words, CLOSING, 1);
    this.#ask();
    await this.#ended;
  }

  /** The number of what was asked for. */
  #ask(): number {
    const number = Atomics.add(this.#words, ASKED, 1) + 1;
    Atomics.notify(this.#words, ASKED);
    return number;
  }

  #answerTo(number: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const hear = ({ done, failure }: FlushAnswer): void => {
        if (done < number) return;
        this.#worker.off('message', hear);
        if (failure === '') resolve();
        else reject(new Error(failure));
      };
      this.#worker.on('message', hear);
    });
  }
}
