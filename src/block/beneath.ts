/**
 * What shows through an extent where it holds nothing: the parent at the same place of the disk, or
 * zeros where there is no parent or the parent is shorter. Offsets are those of the extent; its
 * place on the disk is added here and nowhere else, because a parent is addressed by disk offset,
 * not extent by extent.
 */
import type { BlockDevice } from './block-device.js';

export class Beneath {
  readonly #parent: BlockDevice | undefined;
  readonly #start: number;

  constructor(parent: BlockDevice | undefined, start: number) {
    this.#parent = parent;
    this.#start = start;
  }

  /** Fills `length` bytes of `target` with what lies beneath `offset`. */
  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    const there = this.#lengthThere(offset, length);
    if (there > 0) this.#parent?.read(target, targetOffset, there, this.#start + offset);
    if (there < length) target.fill(0, targetOffset + there, targetOffset + length);
  }

  /** Whether nothing but zeros is known to lie beneath the range. */
  isHole(offset: number, length: number): boolean {
    return this.nextData(offset, offset + length) >= offset + length;
  }

  /** The first offset from `offset` on that may hold data, or `limit`. */
  nextData(offset: number, limit: number): number {
    const there = this.#lengthThere(offset, limit - offset);
    if (there === 0 || this.#parent === undefined) return limit;
    const end = this.#start + offset + there;
    const found = this.#parent.nextData(this.#start + offset, end);
    return found < end ? found - this.#start : limit;
  }

  /** The first offset from `offset` on that is known to be a hole, or `limit`. */
  nextHole(offset: number, limit: number): number {
    const there = this.#lengthThere(offset, limit - offset);
    if (there === 0 || this.#parent === undefined) return offset;
    return this.#parent.nextHole(this.#start + offset, this.#start + offset + there) - this.#start;
  }

  #lengthThere(offset: number, length: number): number {
    if (this.#parent === undefined) return 0;
    return Math.max(0, Math.min(length, this.#parent.size - this.#start - offset));
  }
}
