/**
 * The parents of an image as one device. Parents do not change while the image is open, so which of
 * them holds a place needs to be found out only once: the first that has anything there. It is noted
 * in memory that all threads share, a byte for each unit of the disk, and from then on a read costs
 * the same however deep the chain is.
 *
 * Where the owner holds only a part of a unit, it answers the rest through its own parent, as it
 * would anyway.
 */
import type { BlockDevice } from './block-device.js';
import type { ImageLayer, LayerDescription } from './image-layer.js';

/** Nobody has looked yet. */
const UNKNOWN = 0;

/** No parent has anything there. Other values are the index of a parent plus one. */
const NOBODY = 255;

/** The usual grain, so that a unit has one owner in most chains. */
const UNIT_BYTES_MIN = 64 * 1024;

/** Units of a disk at most: a byte each. Larger disks have larger units. */
const UNITS_MAX = 64 * 1024 * 1024;

/**
 * Shared memory for the owners of an image's parents; undefined where there are too few to matter,
 * or more than a byte can tell apart.
 */
export function newOwners(layers: readonly LayerDescription[]): SharedArrayBuffer | undefined {
  const [, parent, ...others] = layers;
  if (parent === undefined || others.length === 0 || layers.length > NOBODY) return undefined;
  return new SharedArrayBuffer(Math.ceil(parent.size / unitBytes(parent.size)));
}

function unitBytes(size: number): number {
  let unit = UNIT_BYTES_MIN;
  while (size / unit > UNITS_MAX) unit *= 2;
  return unit;
}

export class ParentChain implements BlockDevice {
  readonly size: number;
  readonly readOnly = true;
  readonly #first: ImageLayer;
  readonly #parents: readonly ImageLayer[];
  readonly #owners: Uint8Array;
  readonly #unitBytes: number;

  /** @param parents the image's parent first, its base last; at least one */
  constructor(parents: readonly ImageLayer[], owners: SharedArrayBuffer) {
    const [first] = parents;
    if (first === undefined) throw new RangeError('a chain has at least one parent');
    this.size = first.size;
    this.#first = first;
    this.#parents = parents;
    this.#owners = new Uint8Array(owners);
    this.#unitBytes = unitBytes(first.size);
  }

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    for (let done = 0; done < length;) {
      const at = offset + done;
      const owner = this.#owner(Math.floor(at / this.#unitBytes));
      const count = this.#runLength(owner, at, length - done);
      const parent = this.#parents[owner - 1];
      const to = targetOffset + done;
      if (parent === undefined) target.fill(0, to, to + count);
      else parent.read(target, to, count, at);
      done += count;
    }
  }

  /** Bytes from `at` on, at most `length`, that belong to one owner. */
  #runLength(owner: number, at: number, length: number): number {
    let unit = Math.floor(at / this.#unitBytes) + 1;
    while (unit * this.#unitBytes - at < length && this.#owner(unit) === owner) unit += 1;
    return Math.min(length, unit * this.#unitBytes - at);
  }

  #owner(unit: number): number {
    const known = Atomics.load(this.#owners, unit);
    if (known !== UNKNOWN) return known;
    const owner = this.#findOwner(unit);
    Atomics.store(this.#owners, unit, owner);
    return owner;
  }

  #findOwner(unit: number): number {
    const start = unit * this.#unitBytes;
    const end = Math.min(start + this.#unitBytes, this.size);
    for (const [index, parent] of this.#parents.entries()) {
      // Behind the end of a parent nothing of it or its own parents shows; its child knows where.
      if (start >= parent.size) return NOBODY;
      if (end > parent.size) return index;
      if (parent.holds(start, end - start)) return index + 1;
    }
    return NOBODY;
  }

  nextData(offset: number, limit: number): number {
    const unit = Math.floor(offset / this.#unitBytes);
    const isInUnit = limit <= (unit + 1) * this.#unitBytes;
    if (isInUnit && limit > offset && this.#owner(unit) === NOBODY) return limit;
    return this.#first.nextData(offset, limit);
  }

  nextHole(offset: number, limit: number): number {
    return this.#first.nextHole(offset, limit);
  }

  allocatedBytes(): number {
    return this.#first.allocatedBytes();
  }

  write(): never {
    throw new Error('a parent is never written');
  }

  zero(): never {
    throw new Error('a parent is never written');
  }

  flush(): void {
    // A parent is never written.
  }

  close(): void {
    this.#first.close();
  }
}
