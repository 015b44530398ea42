/**
 * Looking for the next request for a moment before sleeping until it comes. A program that waits for
 * each answer sends its next request a few microseconds later, and to put a thread to sleep and wake
 * it up takes several times as long as that.
 *
 * One thread of a mount looks at a time, so that on a small machine those who send requests have a
 * processor left. Looking is left out for a while, and each time for twice as long, where it does
 * not pay: when a request is there at once, because many are under way, and when none comes.
 */

/** How often is looked: about 55 us (`native-notes/performance.md`). */
const LOOKS = 128;

/** For how many requests in a row looking is left out at most. */
const SKIPPED_MAX = 64;

/** Words (Int32) of shared memory for all threads of a mount. */
export const BUSY_WAIT_WORDS = 1;

const FREE = 0;
const TAKEN = 1;

export class BusyWait {
  readonly #isThere: () => boolean;
  readonly #shared: Int32Array;
  /** How many requests are still taken without looking. */
  #skip = 0;
  /** How many it will be when looking did not pay once more. */
  #nextSkip = 1;

  /**
   * @param isThere whether a request can be taken without waiting for it
   * @param shared BUSY_WAIT_WORDS, zeroed
   */
  constructor(isThere: () => boolean, shared: Int32Array) {
    this.#isThere = isThere;
    this.#shared = shared;
  }

  /** Returns when there is a request, as far as can be seen, or when it is better to sleep. */
  wait(): void {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return;
    }
    if (Atomics.compareExchange(this.#shared, 0, FREE, TAKEN) !== FREE) return;
    const looks = this.#look();
    Atomics.store(this.#shared, 0, FREE);
    if (looks > 0 && looks < LOOKS) {
      this.#nextSkip = 1;
      return;
    }
    this.#skip = this.#nextSkip;
    this.#nextSkip = Math.min(SKIPPED_MAX, 2 * this.#nextSkip);
  }

  /** How often nothing was there. */
  #look(): number {
    for (let looks = 0; looks < LOOKS; looks++) if (this.#isThere()) return looks;
    return LOOKS;
  }
}
