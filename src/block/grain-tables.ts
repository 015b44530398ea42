/**
 * The grain tables of one sparse extent in shared memory, and its directories.
 *
 * Tables live in slots, direct-mapped: table t can only be in slot t mod slots. A slot has three
 * control words: SEQUENCE (odd while the slot is being filled), TAG (table + 1, 0 for none) and
 * STATE. With as many slots as tables a table once loaded stays; with fewer, tables take turns.
 *
 *   CLEAN --set--> DIRTY --snapshot--> WRITING --written--> CLEAN
 *                    ^------set------ WRITING|DIRTY, then written(false) or snapshot again
 *
 * Only a CLEAN slot may be given to another table, so the file is always current for a table that
 * is not resident.
 *
 * `lookup` takes no lock: it reads SEQUENCE and TAG, the entry, and SEQUENCE again. Everything else
 * is called by the holder of the layer's mutex. The file is read and never written here.
 */
import { endianness } from 'node:os';
import { GTE_UNALLOCATED, isAllocated } from '../vmdk/grain-entry.js';
import { ENTRY_BYTES } from '../vmdk/layout.js';
import type { GrainBounds } from './grain-bounds.js';
import type { HostFile } from './host-file.js';
import type { LayerCounters } from './layer-counters.js';
import { placeOf, type TableCodec } from './table-codec.js';

/** A directory entry without a table. */
export const TABLE_MISSING = 0;

/** A directory entry that cannot be right; nothing lies at place 1. It is never written through. */
export const TABLE_DAMAGED = 1;

/** What `lookup` answers for a table that is not in memory. */
export const NOT_RESIDENT = -1;

/** The lowest entry that is a place in the file; those below it are kinds by themselves. */
const FIRST_PLACE = 2;

const SEQUENCE = 0;
const TAG = 1;
const STATE = 2;
const CONTROL_WORDS = 3;

// Tables of sectors are used in place, as the little-endian words that they are on disk.
if (endianness() !== 'LE') throw new Error('vmdkfs runs on little-endian machines only');

const DIRTY = 1;
const WRITING = 2;

/** The tables as they travel between threads. */
export interface GrainTablesDescription {
  readonly tableCount: number;
  readonly tableEntries: number;
  readonly slots: number;
  readonly control: SharedArrayBuffer;
  readonly entries: SharedArrayBuffer;
  /** The primary directory, then the redundant one where the extent has it: a u32 place a table. */
  readonly directories: readonly SharedArrayBuffer[];
  /** One byte a table: 1 where no entry of it has ever been set. */
  readonly unused: SharedArrayBuffer;
}

/**
 * Makes room for the tables of an extent: `slots` of `tableCount` tables can be in memory, and those
 * with a 1 in `unused` were found to lead nowhere, so that nobody needs to load them.
 */
export function describeTables(
  size: { tableCount: number; tableEntries: number },
  slots: number,
  directories: readonly Uint32Array[],
  unused: SharedArrayBuffer,
): GrainTablesDescription {
  return {
    ...size,
    slots,
    unused,
    control: new SharedArrayBuffer(slots * CONTROL_WORDS * 4),
    entries: new SharedArrayBuffer(slots * size.tableEntries * ENTRY_BYTES),
    directories: directories.map((directory) => {
      const shared = new SharedArrayBuffer(directory.byteLength);
      new Uint32Array(shared).set(directory);
      return shared;
    }),
  };
}

export class GrainTables {
  readonly tableEntries: number;
  /** Bytes of a table in memory. */
  readonly tableBytes: number;
  /** One directory for each copy of the tables; primary first. */
  readonly directories: readonly Uint32Array[];
  readonly #slots: number;
  readonly #control: Int32Array;
  readonly #unused: Uint8Array;
  readonly #entries: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #file: HostFile;
  readonly #codec: TableCodec;
  readonly #bounds: GrainBounds;
  readonly #counters: LayerCounters;
  readonly #single: Uint32Array;
  readonly #singleCopy: Uint32Array;
  readonly #takesCopies: boolean;

  /** @param takesCopies whether a bad entry is read from the redundant table; never while writing */
  constructor(
    description: GrainTablesDescription,
    file: HostFile,
    codec: TableCodec,
    bounds: GrainBounds,
    counters: LayerCounters,
    takesCopies = false,
  ) {
    this.#takesCopies = takesCopies;
    this.#singleCopy = new Uint32Array(1);
    this.tableEntries = description.tableEntries;
    this.tableBytes = description.tableEntries * ENTRY_BYTES;
    this.directories = description.directories.map((shared) => new Uint32Array(shared));
    this.#slots = description.slots;
    this.#control = new Int32Array(description.control);
    this.#unused = new Uint8Array(description.unused);
    this.#entries = new Uint32Array(description.entries);
    this.#bytes = new Uint8Array(description.entries);
    this.#file = file;
    this.#codec = codec;
    this.#bounds = bounds;
    this.#counters = counters;
    this.#single = new Uint32Array(1);
  }

  /** The entry of `grain`, or NOT_RESIDENT; takes no lock. */
  lookup(grain: number): number {
    const table = Math.floor(grain / this.tableEntries);
    const slot = table % this.#slots;
    const control = slot * CONTROL_WORDS;
    const index = slot * this.tableEntries + (grain - table * this.tableEntries);
    for (;;) {
      const sequence = Atomics.load(this.#control, control + SEQUENCE);
      if ((sequence & 1) !== 0) return NOT_RESIDENT;
      if (Atomics.load(this.#control, control + TAG) !== table + 1) return NOT_RESIDENT;
      const entry = Atomics.load(this.#entries, index);
      if (Atomics.load(this.#control, control + SEQUENCE) === sequence) return entry;
    }
  }

  /**
   * Where the grains end that follow `grain` and are of one kind (unallocated, zeroed, allocated)
   * with `entry`, which is what the caller saw of `grain`; the end of its table at most, or of the
   * unused tables behind one that is unused, and it looks no further than `limit`. Takes no lock. Of
   * a table that is not in memory only `grain` itself counts, of one that is unused all grains.
   */
  kindEnd(grain: number, entry: number, limit = Infinity): number {
    const table = Math.floor(grain / this.tableEntries);
    const end = Math.min((table + 1) * this.tableEntries, limit);
    const kind = Math.min(entry, FIRST_PLACE);
    if (this.isUnused(table)) {
      return kind === GTE_UNALLOCATED ? this.#unusedEnd(table, limit) : grain + 1;
    }
    const control = (table % this.#slots) * CONTROL_WORDS;
    const sequence = Atomics.load(this.#control, control + SEQUENCE);
    if ((sequence & 1) !== 0 || !this.#isResident(table)) return grain + 1;
    const first = (table % this.#slots) * this.tableEntries - table * this.tableEntries;
    let next = grain + 1;
    while (next < end && Math.min(Atomics.load(this.#entries, first + next), FIRST_PLACE) === kind)
      next++;
    return Atomics.load(this.#control, control + SEQUENCE) === sequence ? next : grain + 1;
  }

  /** Where the grains of `table`, which is unused, and of the unused ones behind it end. */
  #unusedEnd(table: number, limit: number): number {
    const last = Math.min(Math.ceil(limit / this.tableEntries), this.#unused.length);
    let count = 1;
    if (last > table + 1) {
      const used = this.#unused.subarray(table + 1, last).indexOf(0);
      count += used < 0 ? last - table - 1 : used;
    }
    return Math.min((table + count) * this.tableEntries, limit);
  }

  /** Whether all entries of a table are unallocated, known without loading it; takes no lock. */
  isUnused(table: number): boolean {
    return Atomics.load(this.#unused, table) === 1;
  }

  #isResident(table: number): boolean {
    const control = (table % this.#slots) * CONTROL_WORDS;
    return Atomics.load(this.#control, control + TAG) === table + 1;
  }

  /** The entry of the copy from which `table` is read: the primary unless only the other is good. */
  source(table: number): number {
    for (const directory of this.directories) {
      const entry = Atomics.load(directory, table);
      if (entry > TABLE_DAMAGED) return entry;
    }
    return TABLE_MISSING;
  }

  /**
   * Loads the table of `grain` into its slot. Mutex held.
   *
   * @returns false when the slot holds another table with changes that are not on disk yet
   * @throws VmdkError for a table with an entry that cannot be right; the system's error
   */
  makeResident(grain: number): boolean {
    const table = Math.floor(grain / this.tableEntries);
    const slot = table % this.#slots;
    const control = slot * CONTROL_WORDS;
    if (this.#control[control + TAG] === table + 1) return true;
    if (this.#control[control + STATE] !== 0) return false;
    Atomics.add(this.#control, control + SEQUENCE, 1);
    try {
      Atomics.store(this.#control, control + TAG, 0);
      this.#load(table, slot);
      Atomics.store(this.#control, control + TAG, table + 1);
    } finally {
      Atomics.add(this.#control, control + SEQUENCE, 1);
    }
    return true;
  }

  #load(table: number, slot: number): void {
    const first = slot * this.tableEntries;
    const words = this.#entries.subarray(first, first + this.tableEntries);
    const source = this.source(table);
    if (source === TABLE_MISSING) {
      words.fill(GTE_UNALLOCATED);
      return;
    }
    this.#codec.read(this.#file, words, placeOf(this.#codec.tables, source));
    this.#counters.add('tableLoads');
    this.#checkTable(words, table, source);
  }

  /** Checks `words`, read from `source`; bad entries are read from the copy where that is allowed. */
  #checkTable(words: Uint32Array, table: number, source: number): void {
    const first = table * this.tableEntries;
    const place = this.#copyPlace(table, source);
    if (place !== TABLE_MISSING && words.some((word) => this.#isBad(word))) {
      const copy = new Uint32Array(this.tableEntries);
      this.#codec.read(this.#file, copy, placeOf(this.#codec.tables, place));
      this.#bounds.takeCopies(words, copy, first);
    }
    this.#bounds.check(words, first);
  }

  #isBad(entry: number): boolean {
    return isAllocated(entry) && !this.#bounds.isReadable(entry);
  }

  /** The redundant table of `table`, which was read from `source`; TABLE_MISSING without one. */
  #copyPlace(table: number, source: number): number {
    const redundant = this.#takesCopies ? this.directories[1] : undefined;
    const place = redundant === undefined ? TABLE_MISSING : Atomics.load(redundant, table);
    return place > TABLE_DAMAGED && place !== source ? place : TABLE_MISSING;
  }

  /**
   * The entry of a grain whose table is not resident, read from the file. Mutex held, so that
   * nobody can load and change the table meanwhile.
   */
  readEntry(grain: number): number {
    const table = Math.floor(grain / this.tableEntries);
    const source = this.source(table);
    if (source === TABLE_MISSING) return GTE_UNALLOCATED;
    const index = grain - table * this.tableEntries;
    const position = placeOf(this.#codec.tables, source);
    const entry = this.#codec.readEntry(this.#file, position, index);
    this.#single[0] = entry;
    const copy = this.#copyPlace(table, source);
    if (copy !== TABLE_MISSING && this.#isBad(entry)) {
      const place = placeOf(this.#codec.tables, copy);
      this.#singleCopy[0] = this.#codec.readEntry(this.#file, place, index);
      this.#bounds.takeCopies(this.#single, this.#singleCopy, grain);
    }
    this.#bounds.check(this.#single, grain);
    return this.#single[0];
  }

  /** Sets the entry of `grain`, whose table is resident, and marks the table. Mutex held. */
  set(grain: number, entry: number): void {
    const table = Math.floor(grain / this.tableEntries);
    const first = (table % this.#slots) * this.tableEntries;
    Atomics.store(this.#entries, first + (grain - table * this.tableEntries), entry);
    if (this.isUnused(table)) Atomics.store(this.#unused, table, 0);
    this.markDirty(table);
  }

  /** Marks a resident table as changed. Mutex held. */
  markDirty(table: number): void {
    Atomics.or(this.#control, (table % this.#slots) * CONTROL_WORDS + STATE, DIRTY);
  }

  /**
   * Copies changed tables to `target`, from table `from` on and at most as many as fit, and takes
   * them for writing. Mutex held. Entries not yet set when this is called are not in the copy.
   *
   * @returns the tables copied, in ascending order
   */
  snapshot(target: Uint8Array, from: number): number[] {
    const tables: number[] = [];
    for (let slot = 0; slot < this.#slots; slot++) {
      const control = slot * CONTROL_WORDS;
      const table = (this.#control[control + TAG] ?? 0) - 1;
      const isChanged = ((this.#control[control + STATE] ?? 0) & DIRTY) !== 0;
      if (isChanged && table >= from) tables.push(table);
    }
    tables.sort((a, b) => a - b);
    tables.length = Math.min(tables.length, Math.floor(target.length / this.tableBytes));
    tables.forEach((table, index) => {
      const slot = table % this.#slots;
      const start = slot * this.tableBytes;
      target.set(this.#bytes.subarray(start, start + this.tableBytes), index * this.tableBytes);
      Atomics.store(this.#control, slot * CONTROL_WORDS + STATE, WRITING);
    });
    return tables;
  }

  /** Ends the writing of a snapshot's `tables`: where it failed they are dirty again. Mutex held. */
  written(tables: readonly number[], succeeded: boolean): void {
    for (const table of tables) {
      const state = (table % this.#slots) * CONTROL_WORDS + STATE;
      Atomics.and(this.#control, state, ~WRITING);
      if (!succeeded) Atomics.or(this.#control, state, DIRTY);
    }
  }
}
