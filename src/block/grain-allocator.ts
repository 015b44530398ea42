/**
 * Where the next grain of a sparse extent goes: a number in memory, set when the image was opened
 * to where everything in use ends. It grows with what was written, so nothing is ever stat'ed or
 * truncated, and what one grain was taken for is never taken again.
 *
 * What was taken for a write that failed goes back. The mutex is held from the taking to the last
 * write, so nobody has taken anything behind it, and no table leads there, on disk or in memory. A
 * part of it may be written; where that cannot be punched out, the space counts as written before.
 *
 * New grain tables come from the same end, packed into grains of their own, or from an area that the
 * file has for them. All of it lives in shared memory and is changed under the layer's mutex.
 */
import { systemError } from '../errno.js';
import { alignUp } from '../binary/alignment.js';
import type { FreeGrains } from './free-grains.js';
import { TABLE_MISSING, type GrainTables } from './grain-tables.js';
import { entryFor, type PlaceScale } from './table-codec.js';

// Numbers (Float64): bytes, and a count of grains.
const NEXT_GRAIN = 0;
const NEXT_TABLE = 1;
const TABLES_END = 2;
const ALLOCATED = 3;
const PUBLISHED_END = 4;
const LEFTOVERS_END = 5;
const GIVEN_BACK = 6;
const NUMBERS = 7;

// The tables whose directory entries changed and are not on disk: first, and last plus one.
const CHANGED_FIRST = 0;
const CHANGED_END = 1;
const WORDS = 2;

/** The fixed facts of an allocator; bytes. */
export interface AllocationPlan {
  readonly path: string;
  readonly grainBytes: number;
  /** Bytes of a table on disk. */
  readonly tableBytes: number;
  /** How directory entries count the places of tables. */
  readonly tables: PlaceScale;
  /** Where the last grain has to end. */
  readonly limit: number;
  /** What to say where that is reached. */
  readonly full: { readonly code: 'EFBIG' | 'ENOSPC'; readonly reason: string };
  /** The area for tables, where the file has one. */
  readonly hasTableArea: boolean;
}

/** The allocator as it travels between threads. */
export interface GrainAllocatorDescription extends AllocationPlan {
  readonly numbers: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
}

/** An allocator for a file as it was found; places in bytes. */
export function describeAllocator(
  plan: AllocationPlan,
  found: {
    /** Where the next grain begins. */
    readonly end: number;
    /** Grains in use. */
    readonly allocated: number;
    /** What is free of the area for tables. */
    readonly tableArea?: { readonly start: number; readonly end: number };
  },
): GrainAllocatorDescription {
  const numbers = new Float64Array(new SharedArrayBuffer(NUMBERS * 8));
  numbers[NEXT_GRAIN] = found.end;
  numbers[ALLOCATED] = found.allocated;
  numbers[NEXT_TABLE] = found.tableArea?.start ?? 0;
  numbers[TABLES_END] = found.tableArea?.end ?? 0;
  const words = new SharedArrayBuffer(WORDS * 4);
  return { ...plan, numbers: numbers.buffer, words };
}

/** What the allocator had given away at some moment; places in bytes. */
export interface AllocationMark {
  readonly end: number;
  readonly nextTable: number;
  readonly tablesEnd: number;
}

export class GrainAllocator {
  readonly #plan: AllocationPlan;
  readonly #numbers: Float64Array;
  readonly #words: Int32Array;
  readonly #free: FreeGrains | undefined;

  /** @param free grains that can be taken when the end has come to the limit */
  constructor(description: GrainAllocatorDescription, free?: FreeGrains) {
    this.#plan = description;
    this.#free = free;
    this.#numbers = new Float64Array(description.numbers);
    this.#words = new Int32Array(description.words);
  }

  /** The remembered end of what is in use, in bytes: where the next grain begins. */
  get end(): number {
    return this.#numbers[NEXT_GRAIN] ?? 0;
  }

  /** Where the next table begins in the area for tables, in bytes. */
  get tablesEnd(): number {
    return this.#numbers[NEXT_TABLE] ?? 0;
  }

  /** Where the last grain ends that was allocated since the image was opened; 0 without one. */
  get publishedEnd(): number {
    return this.#numbers[PUBLISHED_END] ?? 0;
  }

  /**
   * Where the last grain or table ends that the file may have got since the image was opened; 0
   * without one. Tables in an area of their own do not count.
   */
  get usedEnd(): number {
    const tables = this.#plan.hasTableArea ? 0 : (this.#numbers[TABLES_END] ?? 0);
    return Math.max(this.publishedEnd, tables);
  }

  /** Whether anything was given back, so that the file may be longer than what is in use of it. */
  get hasGivenBack(): boolean {
    return this.#numbers[GIVEN_BACK] === 1;
  }

  /** Whether the place of a grain may hold bytes of a write that failed. Mutex held. */
  hasLeftovers(place: number): boolean {
    return place < (this.#numbers[LEFTOVERS_END] ?? 0);
  }

  /** Grains in use. */
  get allocatedGrains(): number {
    return this.#numbers[ALLOCATED] ?? 0;
  }

  /** How many of `count` grains can be taken at once, at least 1. Mutex held. */
  room(count: number): number {
    const { grainBytes, limit } = this.#plan;
    return Math.max(1, Math.min(count, Math.floor((limit - this.end) / grainBytes)));
  }

  /**
   * Takes `count` grains that lie one behind the other, of which there is room. Mutex held.
   *
   * @returns the offset of the first in the file, in bytes
   * @throws EFBIG or ENOSPC where the file has no room for them
   */
  takeGrains(count: number): number {
    const bytes = count * this.#plan.grainBytes;
    const isFull = this.end + bytes > this.#plan.limit;
    const place = isFull && count === 1 ? this.#free?.take() : undefined;
    return place ?? this.#extend(bytes);
  }

  /** To be given to `giveBack` where what is taken from here on was not written. Mutex held. */
  mark(): AllocationMark {
    const numbers = this.#numbers;
    return {
      end: this.end,
      nextTable: this.tablesEnd,
      tablesEnd: numbers[TABLES_END] ?? 0,
    };
  }

  /**
   * Gives back all that was taken since `mark`: the mutex was held ever since.
   *
   * @param place of a single grain that was free before; undefined where none was taken
   */
  giveBack(mark: AllocationMark, place: number | undefined): void {
    const numbers = this.#numbers;
    numbers[NEXT_GRAIN] = mark.end;
    numbers[NEXT_TABLE] = mark.nextTable;
    numbers[TABLES_END] = mark.tablesEnd;
    numbers[GIVEN_BACK] = 1;
    if (place !== undefined && place < mark.end) this.#free?.giveBack(place);
  }

  /** What is below `end` may hold bytes of a write that failed. Mutex held. */
  leaveLeftovers(end: number): void {
    this.#numbers[LEFTOVERS_END] = Math.max(this.#numbers[LEFTOVERS_END] ?? 0, end);
  }

  /** The `count` grains at `start` are written and in use from now on. Mutex held. */
  publish(start: number, count: number): void {
    this.#numbers[ALLOCATED] = this.allocatedGrains + count;
    const end = start + count * this.#plan.grainBytes;
    this.#numbers[PUBLISHED_END] = Math.max(this.publishedEnd, end);
  }

  /** A grain is no longer in use; its place in the file is not used again. Mutex held. */
  leaveGrain(): void {
    this.#numbers[ALLOCATED] = this.allocatedGrains - 1;
  }

  /**
   * Gives `table`, which is resident, a place in every directory that has none for it: both where
   * the table never existed, one where a crash left only the other. Mutex held.
   *
   * @param made gets the directories that had none
   */
  ensureTable(tables: GrainTables, table: number, made?: Uint32Array[]): void {
    for (const directory of tables.directories) {
      if (directory[table] !== TABLE_MISSING) continue;
      const place = this.#takeTable(tables.directories.length);
      Atomics.store(directory, table, entryFor(this.#plan.tables, place));
      made?.push(directory);
      // An empty table must reach the disk before an entry leads to it.
      tables.markDirty(table);
      this.#changed(table, table + 1);
    }
  }

  /** Takes back the places of `table` that `ensureTable` has just made. Mutex held. */
  dropTable(table: number, made: readonly Uint32Array[]): void {
    for (const directory of made) Atomics.store(directory, table, TABLE_MISSING);
  }

  /**
   * The tables whose directory entries are to be written, first and last plus one, or undefined.
   * They count as written from then on. Mutex held.
   */
  takeChanged(): { first: number; end: number } | undefined {
    const first = this.#words[CHANGED_FIRST] ?? 0;
    const end = this.#words[CHANGED_END] ?? 0;
    if (first === end) return undefined;
    this.#words.fill(0);
    return { first, end };
  }

  /** Takes back `takeChanged` after a write that failed. Mutex held. */
  putBackChanged(range: { first: number; end: number }): void {
    this.#changed(range.first, range.end);
  }

  #changed(first: number, end: number): void {
    const words = this.#words;
    const isEmpty = words[CHANGED_FIRST] === words[CHANGED_END];
    words[CHANGED_FIRST] = isEmpty ? first : Math.min(first, words[CHANGED_FIRST] ?? 0);
    words[CHANGED_END] = isEmpty ? end : Math.max(end, words[CHANGED_END] ?? 0);
  }

  /** The place of a new table; tables of all `copies` directories lie together. */
  #takeTable(copies: number): number {
    const { grainBytes, hasTableArea, tableBytes } = this.#plan;
    if (this.tablesEnd + tableBytes > (this.#numbers[TABLES_END] ?? 0)) {
      if (hasTableArea) throw this.#full();
      this.#numbers[NEXT_TABLE] = this.#extend(alignUp(copies * tableBytes, grainBytes));
      this.#numbers[TABLES_END] = this.end;
    }
    const place = this.tablesEnd;
    this.#numbers[NEXT_TABLE] = place + tableBytes;
    return place;
  }

  #extend(bytes: number): number {
    const start = this.end;
    if (start + bytes > this.#plan.limit) throw this.#full();
    this.#numbers[NEXT_GRAIN] = start + bytes;
    return start;
  }

  #full(): NodeJS.ErrnoException {
    const { full, path } = this.#plan;
    return systemError(full.code, `${path}: ${full.reason}`);
  }
}
