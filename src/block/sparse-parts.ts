import type { AllocationRecord } from './allocation-record.js';
import type { Beneath } from './beneath.js';
import type { GrainAllocator } from './grain-allocator.js';
import type { GrainTables } from './grain-tables.js';
import type { HostFile } from './host-file.js';
import type { LayerState } from './layer-state.js';
import type { TableCodec } from './table-codec.js';

/** What the parts of one sparse extent know of each other; bytes. */
export interface SparseParts {
  readonly size: number;
  readonly grainBytes: number;
  readonly file: HostFile;
  readonly codec: TableCodec;
  readonly tables: GrainTables;
  readonly allocator: GrainAllocator;
  readonly record: AllocationRecord;
  /** Whether space that the allocator gives was never written before, and so reads as zeros. */
  readonly isSpaceFresh: boolean;
  readonly beneath: Beneath;
  readonly state: LayerState;
  readonly flags: WriteFlags;
}

const DATA = 0;
const TABLES = 1;
const UNCLEAN = 2;
const COMPLETED = 3;
const WORDS = 4;

/** Shared memory for the flags of one sparse extent. */
export function newWriteFlags(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * 4);
}

/**
 * What one sparse extent has that is not on disk yet. Set after the write it speaks of; DATA before it
 * too, so that a write under way can be seen.
 */
export class WriteFlags {
  readonly #words: Int32Array;

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared);
  }

  /** The file has writes that no barrier covers. */
  markData(): void {
    Atomics.store(this.#words, DATA, 1);
  }

  /** Whether anything waits for a flush. */
  isDirty(): boolean {
    return Atomics.load(this.#words, DATA) === 1 || Atomics.load(this.#words, TABLES) === 1;
  }

  takeData(): boolean {
    return Atomics.exchange(this.#words, DATA, 0) === 1;
  }

  /** A table in memory differs from the one on disk. */
  markTables(): void {
    Atomics.store(this.#words, TABLES, 1);
  }

  takeTables(): boolean {
    return Atomics.exchange(this.#words, TABLES, 0) === 1;
  }

  /** The header on disk says that the extent is in use. */
  isUnclean(): boolean {
    return Atomics.load(this.#words, UNCLEAN) === 1;
  }

  markUnclean(): void {
    Atomics.store(this.#words, UNCLEAN, 1);
  }

  /** Every table that only one directory led to has its place in both, in memory at least. */
  areTablesCompleted(): boolean {
    return Atomics.load(this.#words, COMPLETED) === 1;
  }

  markTablesCompleted(): void {
    Atomics.store(this.#words, COMPLETED, 1);
  }
}
