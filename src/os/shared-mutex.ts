/**
 * A mutex between threads: two words in shared memory, and the only waiting on Atomics there is.
 *
 * The first word is 0 when free, otherwise the thread id of its owner plus one, so that a thread
 * that died inside can be named. The second counts who waits. Unlocking changes the word first and
 * notifies after; a waiter sleeps on the value it saw, so a change between its look and its sleep
 * ends the sleep at once and no wake-up is lost. It is not reentrant.
 */
import { threadId } from 'node:worker_threads';

const FREE = 0;
const SELF = wordOf(threadId);

/** Words of shared memory that one mutex takes. */
export const MUTEX_WORDS = 2;

/** A mutex over `words[index]` and the word after it. */
export class SharedMutex {
  readonly #words: Int32Array;
  readonly #owner: number;
  readonly #waiters: number;

  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#owner = index;
    this.#waiters = index + 1;
  }

  /** Waits until the mutex is free and takes it. */
  lock(): void {
    const words = this.#words;
    if (Atomics.compareExchange(words, this.#owner, FREE, SELF) === FREE) return;
    Atomics.add(words, this.#waiters, 1);
    for (;;) {
      const seen = Atomics.compareExchange(words, this.#owner, FREE, SELF);
      if (seen === FREE) break;
      Atomics.wait(words, this.#owner, seen);
    }
    Atomics.sub(words, this.#waiters, 1);
  }

  /** Takes the mutex where it is free; whether it was. */
  tryLock(): boolean {
    return Atomics.compareExchange(this.#words, this.#owner, FREE, SELF) === FREE;
  }

  /** Whether the thread with the id `thread` is inside; meant for one that has ended. */
  isHeldBy(thread: number): boolean {
    return Atomics.load(this.#words, this.#owner) === wordOf(thread);
  }

  /** Gives the mutex back. Only its owner may, or who has seen its owner end. */
  unlock(): void {
    Atomics.store(this.#words, this.#owner, FREE);
    if (Atomics.load(this.#words, this.#waiters) > 0) Atomics.notify(this.#words, this.#owner, 1);
  }
}

/** What the first word holds while the thread `id` is inside. */
function wordOf(id: number): number {
  return id + 1;
}
