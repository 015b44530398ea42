/**
 * What some subformats write down about the space that is in use, besides the tables. It reaches the
 * disk together with the data, before any table that leads there: after a crash it may count space
 * that nothing leads to, never the other way round.
 *
 *   COWD       the header's freeSector: the file is longer than what is in use of it
 *   seSparse   a bit for each grain, the grain of the disk that each holds, the number of tables
 *   hosted     nothing: the file ends where its last grain does
 */
import { bytesOf, u32Bytes, viewOf } from '../binary/struct.js';
import { CowdHeader } from '../vmdk/cowd-header.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { encodeBackMapEntry } from '../vmdk/se-sparse-entry.js';
import { SeSparseVolatileHeader, type SeSparseHeader } from '../vmdk/se-sparse-header.js';
import { SESPARSE_ENTRY_BYTES } from '../vmdk/se-sparse-regions.js';
import type { GrainAllocator } from './grain-allocator.js';
import type { HostFile } from './host-file.js';
import type { LayerState } from './layer-state.js';

/** Which record an extent keeps, as it travels between threads. */
export type AllocationRecordDescription =
  | { readonly kind: 'none' }
  | { readonly kind: 'cowd'; readonly written: SharedArrayBuffer }
  | {
      readonly kind: 'seSparse';
      readonly written: SharedArrayBuffer;
      readonly header: SeSparseHeader;
    };

export interface AllocationRecord {
  /** `count` grains at `place` of the file are about to hold those from `grain` on. Mutex held. */
  grainsTaken(place: number, grain: number, count: number): void;

  /**
   * Brings the record up to what was taken so far; called by the holder of the flush mutex, without
   * the layer's mutex.
   *
   * @returns whether anything was written
   */
  write(): boolean;
}

/** Ends of what the file's record covers: of grains, and of tables; bytes. */
export function newRecordEnds(grains: number, tables: number): SharedArrayBuffer {
  const ends = Float64Array.of(grains, tables);
  const shared = new SharedArrayBuffer(ends.byteLength);
  new Float64Array(shared).set(ends);
  return shared;
}

/** The record of an extent; for one thread. */
export function newAllocationRecord(
  description: AllocationRecordDescription,
  file: HostFile,
  allocator: GrainAllocator,
  state: LayerState,
): AllocationRecord {
  switch (description.kind) {
    case 'none':
      return NO_RECORD;
    case 'cowd':
      return new CowdRecord(file, new EndsInUse(description.written, allocator, state));
    case 'seSparse': {
      const ends = new EndsInUse(description.written, allocator, state);
      return new SeSparseRecord(file, ends, description.header, state);
    }
  }
}

const NO_RECORD: AllocationRecord = {
  grainsTaken: () => undefined,
  write: () => false,
};

interface Ends {
  readonly grains: number;
  readonly tables: number;
}

/** Where what is in use ends by now, and by the record. */
class EndsInUse {
  readonly #written: Float64Array;
  readonly #allocator: GrainAllocator;
  readonly #state: LayerState;

  constructor(written: SharedArrayBuffer, allocator: GrainAllocator, state: LayerState) {
    this.#written = new Float64Array(written);
    this.#allocator = allocator;
    this.#state = state;
  }

  /** Calls `write` where the record lags behind; it counts as written when that returns. */
  update(write: (from: Ends, to: Ends) => void): boolean {
    const from = { grains: this.#written[0] ?? 0, tables: this.#written[1] ?? 0 };
    const to = this.#now();
    if (from.grains === to.grains && from.tables === to.tables) return false;
    write(from, to);
    this.#written[0] = to.grains;
    this.#written[1] = to.tables;
    return true;
  }

  #now(): Ends {
    this.#state.mutex.lock();
    try {
      return { grains: this.#allocator.end, tables: this.#allocator.tablesEnd };
    } finally {
      this.#state.mutex.unlock();
    }
  }
}

class CowdRecord implements AllocationRecord {
  readonly #file: HostFile;
  readonly #ends: EndsInUse;

  constructor(file: HostFile, ends: EndsInUse) {
    this.#file = file;
    this.#ends = ends;
  }

  grainsTaken(): void {
    // One number for all of them is written before the barrier.
  }

  write(): boolean {
    return this.#ends.update((_from, to) => {
      const bytes = u32Bytes(to.grains / SECTOR_BYTES);
      this.#file.write(bytes, 0, bytes.length, CowdHeader.freeSector.offset);
    });
  }
}

class SeSparseRecord implements AllocationRecord {
  readonly #file: HostFile;
  readonly #ends: EndsInUse;
  readonly #header: SeSparseHeader;
  readonly #state: LayerState;

  constructor(file: HostFile, ends: EndsInUse, header: SeSparseHeader, state: LayerState) {
    this.#file = file;
    this.#ends = ends;
    this.#header = header;
    this.#state = state;
  }

  grainsTaken(place: number, grain: number, count: number): void {
    const words = new Uint32Array(2 * count);
    for (let index = 0; index < count; index++) {
      words.set(encodeBackMapEntry(grain + index), 2 * index);
    }
    const position = this.#header.backMap.offset + this.#indexOf(place) * SESPARSE_ENTRY_BYTES;
    this.#file.write(bytesOf(words), 0, words.byteLength, position);
  }

  write(): boolean {
    return this.#ends.update((from, to) => {
      if (to.grains > from.grains) this.#markUsed(from.grains, to.grains);
      if (to.tables > from.tables) this.#writeTableCount(to.tables);
    });
  }

  /** The first byte may also be that of a free grain, which a writer marks with the mutex held. */
  #markUsed(from: number, to: number): void {
    this.#state.mutex.lock();
    try {
      this.#setBits(from, to);
    } finally {
      this.#state.mutex.unlock();
    }
  }

  /** Marks the grains between two places as in use; those behind them are free. */
  #setBits(from: number, to: number): void {
    const first = this.#indexOf(from);
    const end = this.#indexOf(to);
    const start = Math.floor(first / 8);
    const bits = new Uint8Array(Math.ceil(end / 8) - start);
    const position = this.#header.freeBitmap.offset + start;
    if (first % 8 !== 0) this.#file.read(bits, 0, 1, position);
    for (let index = first; index < end; index++) {
      const at = Math.floor(index / 8) - start;
      bits[at] = (bits[at] ?? 0) | (1 << (index % 8));
    }
    this.#file.write(bits, 0, bits.length, position);
  }

  #writeTableCount(end: number): void {
    const bytes = new Uint8Array(SESPARSE_ENTRY_BYTES);
    const count = (end - this.#header.tables.offset) / this.#header.tableBytes;
    viewOf(bytes).setUint32(0, count, true);
    const position = this.#header.volatileOffset + SeSparseVolatileHeader.freeGTNumber.offset;
    this.#file.write(bytes, 0, bytes.length, position);
  }

  #indexOf(place: number): number {
    return (place - this.#header.grains.offset) / this.#header.grainBytes;
  }
}
