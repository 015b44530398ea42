/**
 * Grains of a seSparse extent that its bitmap has as free, below where new ones go: what a guest
 * discarded under ESXi. The file has no more grains than the disk, so they are needed when it is full.
 *
 * They are taken one by one, and marked at once; the mark reaches the disk with the data. One whose
 * backmap entry names a grain of the disk that is still there is in use, whatever the bitmap says.
 */
import { seSparseIndex } from '../vmdk/se-sparse-entry.js';
import type { SeSparseHeader } from '../vmdk/se-sparse-header.js';
import { SESPARSE_ENTRY_BYTES } from '../vmdk/se-sparse-regions.js';
import type { HostFile } from './host-file.js';

/** Bytes of the bitmap that are looked at together. */
const WINDOW_BYTES = 4096;

/** The grains as they travel between threads: which to look at next, and where to end. */
export interface FreeGrainsDescription {
  readonly header: SeSparseHeader;
  readonly cursor: SharedArrayBuffer;
  /** Index of the first grain that is not looked at. */
  readonly end: number;
}

export class FreeGrains {
  readonly #file: HostFile;
  readonly #header: SeSparseHeader;
  readonly #cursor: Float64Array;
  readonly #end: number;
  readonly #placeOfGrain: (grain: number) => number;

  /** @param placeOfGrain where a grain of the disk is in the file, bytes; mutex held */
  constructor(
    file: HostFile,
    description: FreeGrainsDescription,
    placeOfGrain: (grain: number) => number,
  ) {
    this.#file = file;
    this.#header = description.header;
    this.#cursor = new Float64Array(description.cursor);
    this.#end = description.end;
    this.#placeOfGrain = placeOfGrain;
  }

  /** Takes a grain; its place in the file, or undefined where none is free. Mutex held. */
  take(): number | undefined {
    const window = new Uint8Array(WINDOW_BYTES);
    for (let index = this.#cursor[0] ?? 0; index < this.#end;) {
      const first = Math.floor(index / 8);
      this.#file.read(window, 0, WINDOW_BYTES, this.#header.freeBitmap.offset + first);
      const stop = Math.min(this.#end, (first + WINDOW_BYTES) * 8);
      while (index < stop && !this.#isFree(window, first, index)) index += 1;
      this.#cursor[0] = Math.min(index + 1, this.#end);
      if (index < stop) return this.#mark(index, true);
    }
    return undefined;
  }

  /** The grain at `place`, which was taken last, was not written after all. Mutex held. */
  giveBack(place: number): void {
    const index = this.#indexOf(place);
    this.#mark(index, false);
    this.#cursor[0] = index;
  }

  #indexOf(place: number): number {
    return (place - this.#header.grains.offset) / this.#header.grainBytes;
  }

  #isFree(window: Uint8Array, first: number, index: number): boolean {
    const byte = window[Math.floor(index / 8) - first] ?? 0xff;
    if ((byte & (1 << (index % 8))) !== 0) return false;
    const entry = new Uint32Array(2);
    const bytes = new Uint8Array(entry.buffer);
    const position = this.#header.backMap.offset + index * SESPARSE_ENTRY_BYTES;
    this.#file.read(bytes, 0, bytes.length, position);
    const [low = 0, high = 0] = entry;
    if ((low | high) === 0) return true;
    const grain = seSparseIndex(low, high, this.#file.path);
    return this.#placeOfGrain(grain) !== this.#placeOf(index);
  }

  #placeOf(index: number): number {
    return this.#header.grains.offset + index * this.#header.grainBytes;
  }

  #mark(index: number, isTaken: boolean): number {
    const position = this.#header.freeBitmap.offset + Math.floor(index / 8);
    const byte = new Uint8Array(1);
    const bit = 1 << (index % 8);
    this.#file.read(byte, 0, 1, position);
    byte[0] = isTaken ? (byte[0] ?? 0) | bit : (byte[0] ?? 0) & ~bit;
    this.#file.write(byte, 0, 1, position);
    return this.#placeOf(index);
  }
}
