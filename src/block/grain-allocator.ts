/**
 * Where the next grain of a sparse extent goes: a number in memory, the end of the file rounded up
 * to a grain when the image was opened. It only grows, by whole grains, so nothing is ever stat'ed
 * or truncated, and everything from the remembered end on has never been written: bytes there that
 * nobody writes read as zeros. A grain whose write failed is not used again, for the same reason.
 *
 * New grain tables come from the same end, packed into grains of their own. All of it lives in
 * shared memory and is changed under the layer's mutex.
 */
import { systemError } from '../errno.js';
import { alignUp } from '../binary/alignment.js';
import { SECTOR_BYTES, SPARSE_FILE_BYTES_MAX } from '../vmdk/limits.js';
import { TABLE_MISSING, type GrainTables } from './grain-tables.js';

// Numbers (Float64): bytes, and a count of grains.
const NEXT_GRAIN = 0;
const NEXT_TABLE = 1;
const TABLES_END = 2;
const ALLOCATED = 3;
const PUBLISHED_END = 4;
const NUMBERS = 5;

// The tables whose directory entries changed and are not on disk: first, and last plus one.
const CHANGED_FIRST = 0;
const CHANGED_END = 1;
const WORDS = 2;

/** The allocator as it travels between threads. */
export interface GrainAllocatorDescription {
  readonly path: string;
  readonly grainBytes: number;
  readonly numbers: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
}

/**
 * An allocator for a file in which `allocated` grains are in use. What is in use ends at `end`: the
 * file's length, or the end of a last grain that the file cuts short.
 */
export function describeAllocator(
  path: string,
  grainBytes: number,
  end: number,
  allocated: number,
): GrainAllocatorDescription {
  const numbers = new Float64Array(new SharedArrayBuffer(NUMBERS * 8));
  numbers[NEXT_GRAIN] = alignUp(end, grainBytes);
  numbers[ALLOCATED] = allocated;
  const words = new SharedArrayBuffer(WORDS * 4);
  return { path, grainBytes, numbers: numbers.buffer, words };
}

export class GrainAllocator {
  readonly #path: string;
  readonly #grainBytes: number;
  readonly #numbers: Float64Array;
  readonly #words: Int32Array;

  constructor(description: GrainAllocatorDescription) {
    this.#path = description.path;
    this.#grainBytes = description.grainBytes;
    this.#numbers = new Float64Array(description.numbers);
    this.#words = new Int32Array(description.words);
  }

  /** The remembered end of the file, in bytes: where the next grain begins. */
  get end(): number {
    return this.#numbers[NEXT_GRAIN] ?? 0;
  }

  /** Where the last grain ends that was allocated since the image was opened; 0 without one. */
  get publishedEnd(): number {
    return this.#numbers[PUBLISHED_END] ?? 0;
  }

  /** Grains in use. */
  get allocatedGrains(): number {
    return this.#numbers[ALLOCATED] ?? 0;
  }

  /**
   * Takes `count` grains that lie one behind the other. Mutex held.
   *
   * @returns the offset of the first in the file, in bytes
   * @throws EFBIG where the file would pass 2 TiB
   */
  takeGrains(count: number): number {
    return this.#extend(count * this.#grainBytes);
  }

  /** The `count` grains at `start` are written and in use from now on. Mutex held. */
  publish(start: number, count: number): void {
    this.#numbers[ALLOCATED] = this.allocatedGrains + count;
    const end = start + count * this.#grainBytes;
    this.#numbers[PUBLISHED_END] = Math.max(this.publishedEnd, end);
  }

  /** A grain is no longer in use; its place in the file is not used again. Mutex held. */
  leaveGrain(): void {
    this.#numbers[ALLOCATED] = this.allocatedGrains - 1;
  }

  /**
   * Gives `table`, which is resident, a place in every directory that has none for it: both where
   * the table never existed, one where a crash left only the other. Mutex held.
   */
  ensureTable(tables: GrainTables, table: number): void {
    for (const directory of tables.directories) {
      if (directory[table] !== TABLE_MISSING) continue;
      Atomics.store(directory, table, this.#takeTable(tables.tableBytes) / SECTOR_BYTES);
      // An empty table must reach the disk before an entry leads to it.
      tables.markDirty(table);
      this.#changed(table, table + 1);
    }
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

  #takeTable(bytes: number): number {
    if ((this.#numbers[NEXT_TABLE] ?? 0) + bytes > (this.#numbers[TABLES_END] ?? 0)) {
      const room = alignUp(2 * bytes, this.#grainBytes);
      this.#numbers[NEXT_TABLE] = this.#extend(room);
      this.#numbers[TABLES_END] = this.end;
    }
    const place = this.#numbers[NEXT_TABLE] ?? 0;
    this.#numbers[NEXT_TABLE] = place + bytes;
    return place;
  }

  #extend(bytes: number): number {
    const start = this.end;
    if (start + bytes > SPARSE_FILE_BYTES_MAX) {
      throw systemError('EFBIG', `${this.#path}: a sparse extent cannot grow past 2 TiB`);
    }
    this.#numbers[NEXT_GRAIN] = start + bytes;
    return start;
  }
}
