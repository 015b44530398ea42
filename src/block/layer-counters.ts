/**
 * What the engine did for one layer since it was opened: counted by all threads, in words of the
 * layer's state. A counter is two words, so that it never turns over; the lower one carries. None of
 * this happens for a READ or a WRITE of a grain that is there and not compressed.
 */

/** The counters, by name. */
export interface EngineCounts {
  /** New grains. */
  readonly grainsAllocated: number;
  /** Pieces of new grains that were filled from a parent (copy on write). */
  readonly copyFills: number;
  /** Parts of compressed grains that were found inflated, and that were not. */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  /** Grain tables read from a file. */
  readonly tableLoads: number;
  /** Flushes that had something to do. */
  readonly flushes: number;
  /** fdatasync calls that went well. */
  readonly barriers: number;
}

const NAMES: readonly (keyof EngineCounts)[] = [
  'grainsAllocated',
  'copyFills',
  'cacheHits',
  'cacheMisses',
  'tableLoads',
  'flushes',
  'barriers',
];

const LOW = 0;
const HIGH = 1;
const COUNTER_WORDS = 2;

/** Words of one layer's counters. */
export const COUNTERS_WORDS = NAMES.length * COUNTER_WORDS;

export class LayerCounters {
  readonly #words: Int32Array;

  /** @param words COUNTERS_WORDS of shared memory */
  constructor(words: Int32Array) {
    this.#words = words;
  }

  /** Adds `count`, from 0 to 2^31 - 1, to a counter. */
  add(name: keyof EngineCounts, count = 1): void {
    const first = NAMES.indexOf(name) * COUNTER_WORDS;
    const before = Atomics.add(this.#words, first + LOW, count) >>> 0;
    if (before + count >= 2 ** 32) Atomics.add(this.#words, first + HIGH, 1);
  }

  /** The value of a counter. */
  get(name: keyof EngineCounts): number {
    const first = NAMES.indexOf(name) * COUNTER_WORDS;
    const high = Atomics.load(this.#words, first + HIGH) >>> 0;
    return high * 2 ** 32 + (Atomics.load(this.#words, first + LOW) >>> 0);
  }
}

/** The sums of the counters of several layers. */
export function sumCounters(layers: readonly LayerCounters[]): EngineCounts {
  const sums = NAMES.map((name) => [
    name,
    layers.reduce((sum, counters) => sum + counters.get(name), 0),
  ]);
  return Object.fromEntries(sums) as Record<keyof EngineCounts, number>;
}
