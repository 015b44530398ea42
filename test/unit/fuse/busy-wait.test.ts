import { describe, expect, test } from 'vitest';
import { BUSY_WAIT_WORDS, BusyWait } from '../../../src/fuse/kernel/busy-wait.js';

const LOOKS = 128;

/** A queue of requests that looks empty for a while, and how often somebody has looked. */
class Queue {
  readonly shared = new Int32Array(BUSY_WAIT_WORDS);
  /** How many looks find nothing before one finds a request. */
  emptyLooks = Infinity;
  looks = 0;

  newWait(): BusyWait {
    return new BusyWait(() => this.look(), this.shared);
  }

  look(): boolean {
    this.looks += 1;
    return this.looks > this.emptyLooks;
  }

  /** How often `wait` looks. */
  looksOf(wait: BusyWait): number {
    this.looks = 0;
    wait.wait();
    return this.looks;
  }
}

describe('looking for a request', () => {
  test('ends with the request, and goes on for each as long as they come a little later', () => {
    const queue = new Queue();
    queue.emptyLooks = 5;
    const wait = queue.newWait();
    for (let request = 0; request < 100; request++) expect(queue.looksOf(wait)).toBe(6);
  });

  test('ends without one, and is then left out for twice as many requests each time', () => {
    const queue = new Queue();
    const wait = queue.newWait();
    for (const skipped of [1, 2, 4, 8, 16, 32, 64, 64, 64]) {
      expect(queue.looksOf(wait)).toBe(LOOKS);
      for (let request = 0; request < skipped; request++) expect(queue.looksOf(wait)).toBe(0);
    }
  });

  test('is left out where requests are there at once, and taken up again when that ends', () => {
    const queue = new Queue();
    queue.emptyLooks = 0;
    const wait = queue.newWait();
    let looks = 0;
    for (let request = 0; request < 10_000; request++) looks += queue.looksOf(wait);
    expect(looks).toBeLessThan(10_000 / 64 + 8);

    queue.emptyLooks = 5;
    for (let request = 0; request < 65; request++) queue.looksOf(wait);
    for (let request = 0; request < 100; request++) expect(queue.looksOf(wait)).toBe(6);
  });

  test('is for one thread at a time', () => {
    const queue = new Queue();
    queue.emptyLooks = 1;
    const other = queue.newWait();
    let looksOfOther = -1;
    const wait = new BusyWait(() => {
      looksOfOther = queue.looksOf(other);
      return true;
    }, queue.shared);
    wait.wait();
    expect(looksOfOther).toBe(0);
    expect(queue.looksOf(other)).toBe(2);
  });
});
