/**
 * Where grains of a sparse extent may lie: outside its header, descriptor, directories and tables,
 * and inside the file. Every table is held against this before any entry of it is used.
 */
import { findOverlap, type Intervals } from '../binary/intervals.js';
import { isAllocated } from '../vmdk/grain-entry.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { placeOf, type PlaceScale } from './table-codec.js';

/** The bounds as they travel between threads. */
export interface GrainBoundsDescription {
  readonly path: string;
  readonly grainBytes: number;
  /** Bytes of the file that a grain takes at least: fewer than it holds where it is compressed. */
  readonly footprint: number;
  readonly places: PlaceScale;
  /** Grains of the extent; entries beyond are not looked at. */
  readonly grainCount: number;
  /** The parts of the file that are not grains. */
  readonly metadata: Intervals;
}

export class GrainBounds {
  readonly #path: string;
  readonly #grainBytes: number;
  readonly #footprint: number;
  readonly #places: PlaceScale;
  readonly #grainCount: number;
  readonly #metadata: Intervals;
  readonly #metadataEnd: number;
  readonly #fileEnd: () => number;
  readonly #laterEnd: () => number;

  /**
   * @param fileEnd where the file ends, in bytes: grains must begin before it
   * @param laterEnd where a file ends that another program may be writing; asked once a table leads
   *   past `fileEnd`
   */
  constructor(
    description: GrainBoundsDescription,
    fileEnd: () => number,
    laterEnd: () => number = fileEnd,
  ) {
    this.#path = description.path;
    this.#grainBytes = description.grainBytes;
    this.#footprint = description.footprint;
    this.#places = description.places;
    this.#grainCount = description.grainCount;
    this.#metadata = description.metadata;
    this.#metadataEnd = description.metadata.at(-1) ?? 0;
    this.#fileEnd = fileEnd;
    this.#laterEnd = laterEnd;
  }

  /**
   * Checks the entries of consecutive grains, `words[0]` being that of `firstGrain`.
   *
   * @returns how many of them are allocated, and where the last of these in the file ends
   * @throws VmdkError VMDK_TRUNCATED for a grain that begins past the end of the file,
   *   VMDK_BAD_GRAIN for one that lies over metadata
   */
  check(words: Uint32Array, firstGrain: number): { allocated: number; end: number } {
    let end = this.#fileEnd();
    const count = Math.min(words.length, this.#grainCount - firstGrain);
    let allocated = 0;
    let last = 0;
    for (let index = 0; index < count; index++) {
      const entry = words[index] ?? 0;
      if (!isAllocated(entry)) continue;
      allocated += 1;
      last = Math.max(last, entry);
      const start = placeOf(this.#places, entry);
      if (start >= end) end = this.#laterEnd();
      if (start >= end) throw this.#truncated(firstGrain + index, start, end);
      if (start < this.#metadataEnd) this.#checkMetadata(firstGrain + index, start);
    }
    return { allocated, end: last === 0 ? 0 : placeOf(this.#places, last) + this.#footprint };
  }

  /** Whether `entry` leads to a grain that can be read: inside the file and over no metadata. */
  isReadable(entry: number): boolean {
    if (!isAllocated(entry)) return false;
    const start = placeOf(this.#places, entry);
    if (start >= this.#fileEnd() && start >= this.#laterEnd()) return false;
    return start >= this.#metadataEnd || findOverlap(this.#metadata, start, this.#footprint) < 0;
  }

  /**
   * Replaces each of `words` that leads to no grain that can be read by that of the `copy` of the
   * table, where that one does. A copy that says "no grain" is not taken: it may only lag behind.
   *
   * @returns how many entries were replaced
   */
  takeCopies(words: Uint32Array, copy: Uint32Array, firstGrain: number): number {
    const count = Math.min(words.length, this.#grainCount - firstGrain);
    let taken = 0;
    for (let index = 0; index < count; index++) {
      const [entry = 0, other = 0] = [words[index], copy[index]];
      if (entry === other || !isAllocated(entry)) continue;
      if (this.isReadable(entry) || !this.isReadable(other)) continue;
      words[index] = other;
      taken += 1;
    }
    return taken;
  }

  #truncated(grain: number, start: number, end: number): VmdkError {
    return new VmdkError(
      'VMDK_TRUNCATED',
      this.#path,
      `grain ${grain} (disk offset ${grain * this.#grainBytes}) begins at byte ${start}, but the file has only ${end} bytes; it is truncated or corrupt`,
    );
  }

  #checkMetadata(grain: number, start: number): void {
    const found = findOverlap(this.#metadata, start, this.#footprint);
    if (found < 0) return;
    const first = this.#metadata[found] ?? 0;
    const end = this.#metadata[found + 1] ?? 0;
    throw new VmdkError(
      'VMDK_BAD_GRAIN',
      this.#path,
      `grain ${grain} (disk offset ${grain * this.#grainBytes}) begins at byte ${start}, over the extent's own metadata (bytes ${first} to ${end}); the image is corrupt`,
    );
  }
}
