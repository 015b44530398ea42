/**
 * The redundant tables of an extent beside its primary ones, while it is opened: whether they
 * differ, and the entries that are good in the copy alone.
 */
import { isAllocated } from '../vmdk/grain-entry.js';
import type { TablesFound } from './check-tables.js';
import type { GrainBounds } from './grain-bounds.js';
import { TABLE_DAMAGED, TABLE_MISSING } from './grain-tables.js';
import type { HostFile } from './host-file.js';
import { placeOf, type TableCodec } from './table-codec.js';

/** How the redundant tables of an extent are used when it is opened. */
export interface CopiesUse {
  /** Whether bad entries are read from the copy: only where nothing is written. */
  readonly take: boolean;
  /** Whether the header says that the extent was not closed, so that a copy may lag behind. */
  readonly isUnclean: boolean;
}

const NO_TABLES = new Uint32Array(0);

const NO_USE: CopiesUse = { take: false, isUnclean: false };

export class TableCopies {
  /** Entries that were read from the copy because the primary one leads nowhere. */
  taken = 0;
  /** The first table whose copies differ in more than an unclean end explains, or -1. */
  differing = -1;
  readonly #directory: Uint32Array;
  readonly #use: CopiesUse;
  readonly #source: HostFile;
  readonly #codec: TableCodec;
  readonly #bounds: GrainBounds;
  readonly #copy: Uint32Array;

  /** @param use what to do with the copies; they are not read without */
  constructor(
    found: TablesFound,
    use: CopiesUse | undefined,
    from: { source: HostFile; codec: TableCodec; bounds: GrainBounds },
  ) {
    const [, redundant] = found.directories;
    this.#directory = use === undefined || redundant === undefined ? NO_TABLES : redundant;
    this.#use = use ?? NO_USE;
    this.#source = from.source;
    this.#codec = from.codec;
    this.#bounds = from.bounds;
    this.#copy = new Uint32Array(found.tableEntries);
  }

  /** Whether the copies of `run` tables from `table` on are a hole of the host, or are not there. */
  areHoles(table: number, run: number): boolean {
    const places = this.#directory.subarray(table, table + run);
    const used = places.filter((place) => place > TABLE_DAMAGED).sort();
    const [first, last] = [used[0], used.at(-1)];
    if (first === undefined || last === undefined) return true;
    const end = placeOf(this.#codec.tables, last + this.#codec.tableStep);
    return this.#source.nextData(placeOf(this.#codec.tables, first), end) >= end;
  }

  /** Compares `words` of `table`, read from `place`, with the copy, and mends them from it. */
  compare(words: Uint32Array, table: number, place: number): void {
    const copy = this.#directory[table] ?? TABLE_MISSING;
    if (copy <= TABLE_DAMAGED || copy === place) return;
    this.#codec.read(this.#source, this.#copy, placeOf(this.#codec.tables, copy));
    if (this.differing < 0 && this.#isDiffering(words)) this.differing = table;
    if (!this.#use.take) return;
    this.taken += this.#bounds.takeCopies(words, this.#copy, table * this.#copy.length);
  }

  /** After an unclean end one copy may lack a grain that the other has. */
  #isDiffering(words: Uint32Array): boolean {
    return words.some((word, index) => {
      const other = this.#copy[index] ?? 0;
      if (word === other) return false;
      return !this.#use.isUnclean || (isAllocated(word) && isAllocated(other));
    });
  }
}
