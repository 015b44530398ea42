/**
 * Inflated grains, shared by all threads and all compressed extents of an image, in memory with a
 * bound. A grain can lie in any of the few slots of its set; the one that was used longest ago makes
 * room.
 *
 * Nobody waits: a slot's SEQUENCE is odd while somebody fills it, who made it so and nobody else may.
 * A reader copies and looks at SEQUENCE before and after; what changed meanwhile was not there. A
 * thread that dies while it fills a slot leaves it odd: the slot is lost, nothing else.
 */

const SEQUENCE = 0;
const EXTENT = 1;
const GRAIN = 2;
const USED = 3;
const CONTROL_WORDS = 4;

/** Slots of a set. */
const WAYS = 8;

/** The cache as it travels between threads; bytes. */
export interface GrainCacheDescription {
  readonly slotBytes: number;
  /** The clock of all slots, then the words of each. */
  readonly control: SharedArrayBuffer;
  readonly grains: SharedArrayBuffer;
}

/** Makes a cache for grains of at most `slotBytes` in about `memory` bytes. */
export function newGrainCache(slotBytes: number, memory: number): GrainCacheDescription {
  const sets = Math.max(1, Math.floor(memory / (WAYS * slotBytes)));
  const slots = sets * WAYS;
  return {
    slotBytes,
    control: new SharedArrayBuffer((1 + slots * CONTROL_WORDS) * 4),
    grains: new SharedArrayBuffer(slots * slotBytes),
  };
}

export class GrainCache {
  readonly #slotBytes: number;
  readonly #sets: number;
  readonly #clock: Int32Array;
  readonly #control: Int32Array;
  readonly #grains: Uint8Array;

  constructor(description: GrainCacheDescription) {
    const { control, grains, slotBytes } = description;
    this.#slotBytes = slotBytes;
    this.#sets = grains.byteLength / slotBytes / WAYS;
    this.#clock = new Int32Array(control, 0, 1);
    this.#control = new Int32Array(control, 4);
    this.#grains = new Uint8Array(grains);
  }

  /**
   * Copies `length` bytes from `from` on of a grain of `extent` (a number from 1) to `target`.
   *
   * @returns false where the grain is not there; `target` may be changed
   */
  read(
    extent: number,
    grain: number,
    from: number,
    target: Uint8Array,
    targetOffset: number,
    length: number,
  ): boolean {
    const control = this.#control;
    const first = this.#firstSlot(extent, grain);
    for (let slot = first; slot < first + WAYS; slot++) {
      const words = slot * CONTROL_WORDS;
      const sequence = Atomics.load(control, words + SEQUENCE);
      if ((sequence & 1) !== 0) continue;
      if (Atomics.load(control, words + EXTENT) !== extent) continue;
      if (Atomics.load(control, words + GRAIN) !== grain) continue;
      const start = slot * this.#slotBytes + from;
      target.set(this.#grains.subarray(start, start + length), targetOffset);
      // Not a load: nothing of the copy may happen behind it, which only a write holds back.
      if (Atomics.add(control, words + SEQUENCE, 0) !== sequence) continue;
      Atomics.store(control, words + USED, this.#now());
      return true;
    }
    return false;
  }

  /** Keeps `bytes`, a whole grain of `extent`, where nobody is just filling the slot for it. */
  keep(extent: number, grain: number, bytes: Uint8Array): void {
    const control = this.#control;
    const slot = this.#oldest(extent, grain);
    const words = slot * CONTROL_WORDS;
    const sequence = Atomics.load(control, words + SEQUENCE);
    if ((sequence & 1) !== 0) return;
    const filling = (sequence + 1) | 0;
    if (Atomics.compareExchange(control, words + SEQUENCE, sequence, filling) !== sequence) return;
    this.#grains.set(bytes, slot * this.#slotBytes);
    Atomics.store(control, words + EXTENT, extent);
    Atomics.store(control, words + GRAIN, grain);
    Atomics.store(control, words + USED, this.#now());
    Atomics.store(control, words + SEQUENCE, (sequence + 2) | 0);
  }

  #now(): number {
    return (Atomics.add(this.#clock, 0, 1) + 1) | 0;
  }

  #firstSlot(extent: number, grain: number): number {
    return ((grain + extent * 31) % this.#sets) * WAYS;
  }

  /**
   * The slot of a grain's set that was used longest ago, of those that nobody is filling; the clock
   * may have turned over.
   */
  #oldest(extent: number, grain: number): number {
    const now = Atomics.load(this.#clock, 0);
    const first = this.#firstSlot(extent, grain);
    let oldest = first;
    let greatest = -1;
    for (let slot = first; slot < first + WAYS; slot++) {
      const words = slot * CONTROL_WORDS;
      if ((Atomics.load(this.#control, words + SEQUENCE) & 1) !== 0) continue;
      const age = (now - Atomics.load(this.#control, words + USED)) >>> 0;
      if (age <= greatest) continue;
      oldest = slot;
      greatest = age;
    }
    return oldest;
  }
}
