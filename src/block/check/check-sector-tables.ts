/**
 * Checking the tables of a hosted or COWD extent: every entry of every directory and table by
 * itself, both copies against each other, and all grains against each other.
 *
 * The primary table is what everybody reads. Where an entry of it cannot be right and the copy's can,
 * the copy's is taken, unless another grain is there; where the copy differs otherwise, it is made
 * equal. Where both lead to grains, different ones, nobody can know.
 */
import { u32Bytes } from '../../binary/struct.js';
import { findOverlap, joinStarts, type Intervals } from '../../binary/intervals.js';
import { isAllocated } from '../../vmdk/grain-entry.js';
import {
  ENTRY_BYTES,
  grainCount,
  tableBytes,
  tableCount,
  type Geometry,
} from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { HostFile } from '../host-file.js';
import { tableAt, type CheckedDirectories } from './check-directories.js';
import { isNear, overlapping, report, sorted, Window, type ExtentCheck } from './extent-check.js';
import type { Problem, Repair } from './problem.js';

/** What the tables lead to. */
export interface GrainsFound {
  /** Sectors of all grains in use, ascending. */
  readonly sectors: Uint32Array;
  /** Where the last of them ends, bytes; 0 without one. */
  readonly end: number;
}

/** How an entry can be. */
type Sort = 'nowhere' | 'grain' | 'beyond-end' | 'over-metadata';

/** Grain tables are read one by one; progress is told every so many of them. */
const PROGRESS_TABLES = 256;

/** What is read of tables at a time: most lie one behind the other. */
const TABLES_BYTES = 64 * 1024;

/** What the entries of an extent may be. */
export interface EntryRules {
  readonly isUnclean: boolean;
  /** Bytes of the file that a grain takes at least: fewer than it holds where it is compressed. */
  readonly footprint: number;
}

/** Checks all tables that `directories` lead to. */
export function checkSectorTables(
  check: ExtentCheck,
  geometry: Geometry,
  directories: CheckedDirectories,
  rules: EntryRules,
): GrainsFound {
  return new SectorTables(check, geometry, directories, rules).check();
}

class SectorTables {
  readonly #check: ExtentCheck;
  readonly #geometry: Geometry;
  readonly #directories: CheckedDirectories;
  readonly #rules: EntryRules;
  /** Sectors that a grain takes at least. */
  readonly #step: number;
  readonly #source: Window;
  readonly #copies: Window;
  readonly #grains: number;
  readonly #found: Uint32Array[] = [];
  /** Entries that a repair takes from the redundant table, if nothing else is where they lead. */
  readonly #taken: { readonly word: number; readonly problem: Problem }[] = [];

  constructor(
    check: ExtentCheck,
    geometry: Geometry,
    directories: CheckedDirectories,
    rules: EntryRules,
  ) {
    this.#check = check;
    this.#geometry = geometry;
    this.#directories = directories;
    this.#rules = rules;
    this.#step = rules.footprint / SECTOR_BYTES;
    this.#source = new Window(new HostFile(check.file), TABLES_BYTES);
    this.#copies = new Window(new HostFile(check.file), TABLES_BYTES);
    this.#grains = grainCount(geometry);
  }

  check(): GrainsFound {
    const [primary, redundant] = this.#directories.directories;
    const tables = tableCount(this.#geometry);
    for (let table = 0; table < tables; table++) {
      if (table % PROGRESS_TABLES === 0) this.#check.progress(table / tables);
      const places = { words: tableAt(primary, table), copy: tableAt(redundant, table) };
      const words = places.words === 0 ? undefined : this.#read(this.#source, places.words);
      const copy = places.copy === 0 ? undefined : this.#read(this.#copies, places.copy);
      const used = words ?? copy;
      if (used === undefined) continue;
      if (words !== undefined && copy !== undefined) this.#compare(table, words, copy, places);
      else this.#checkAlone(table, used, places.words === 0 ? places.copy : places.words);
      const grains = used.filter((word, index) => this.#isGrain(table, index, word));
      if (grains.length > 0) this.#found.push(grains);
    }
    const sectors = this.#sectors();
    const last = sectors.at(-1);
    const end = last === undefined ? 0 : last * SECTOR_BYTES + this.#rules.footprint;
    return { sectors, end };
  }

  /** Sectors of all grains that were found, ascending; each is kept once. */
  #sectors(): Uint32Array {
    const found = sorted(this.#found);
    this.#found.length = 0;
    this.#reportShared(overlapping(found, this.#step));
    const settled = this.#settle(found);
    return settled.length === 0 ? found : sorted([found, settled]);
  }

  #read(window: Window, sector: number): Uint32Array {
    const words = new Uint32Array(tableBytes(this.#geometry) / ENTRY_BYTES);
    const bytes = new Uint8Array(words.buffer);
    bytes.set(window.at(sector * SECTOR_BYTES, bytes.length));
    return words;
  }

  #isGrain(table: number, index: number, word: number): boolean {
    return this.#grainOf(table, index) < this.#grains && this.#sort(word) === 'grain';
  }

  #grainOf(table: number, index: number): number {
    return table * this.#geometry.tableEntries + index;
  }

  #sort(word: number): Sort {
    if (!isAllocated(word)) return 'nowhere';
    const start = word * SECTOR_BYTES;
    if (start >= this.#check.file.length) return 'beyond-end';
    const { metadata } = this.#directories;
    const isOver = findOverlap(metadata, start, this.#rules.footprint) >= 0;
    return isOver ? 'over-metadata' : 'grain';
  }

  #checkAlone(table: number, words: Uint32Array, sector: number): void {
    words.forEach((word, index) => {
      if (!isAllocated(word) || this.#grainOf(table, index) >= this.#grains) return;
      const sort = this.#sort(word);
      if (sort === 'grain' || sort === 'nowhere') return;
      this.#report(table, index, {
        kind: sort,
        severity: 'error',
        offset: sector * SECTOR_BYTES + index * ENTRY_BYTES,
        message: describe(sort, word),
      });
    });
  }

  #compare(
    table: number,
    words: Uint32Array,
    copy: Uint32Array,
    places: { words: number; copy: number },
  ): void {
    words.forEach((word, index) => {
      const other = copy[index] ?? 0;
      if (this.#grainOf(table, index) >= this.#grains) return;
      const sort = this.#sort(word);
      if (word === other && (sort === 'grain' || sort === 'nowhere')) return;
      const offset = places.words * SECTOR_BYTES + index * ENTRY_BYTES;
      const copyOffset = places.copy * SECTOR_BYTES + index * ENTRY_BYTES;
      const problem = this.#judge(word, other, offset, copyOffset);
      const reported = this.#report(table, index, problem);
      const isTaken = reported?.offset === offset && reported.repairs !== undefined;
      if (isTaken && isAllocated(other)) this.#taken.push({ word: other, problem: reported });
    });
  }

  /** What is wrong with two entries of one grain that are not both right. */
  #judge(word: number, other: number, offset: number, copyOffset: number): Problem {
    const [sort, otherSort] = [this.#sort(word), this.#sort(other)];
    const file = this.#check.file.path;
    if (sort === 'beyond-end' || sort === 'over-metadata') {
      const isCopyGood = otherSort === 'grain' || otherSort === 'nowhere';
      const message = describe(sort, word);
      const problem = { kind: sort, severity: 'error', file, offset, message } as const;
      if (!isCopyGood) return problem;
      return { ...problem, repairs: [writeEntry(offset, other, 'the redundant table')] };
    }
    if (otherSort === 'beyond-end' || otherSort === 'over-metadata') {
      return {
        kind: otherSort,
        severity: 'error',
        file,
        offset: copyOffset,
        message: `in the redundant table ${describe(otherSort, other)}`,
        repairs: [writeEntry(copyOffset, word, 'the grain table')],
      };
    }
    return this.#judgeDifference(word, other, copyOffset);
  }

  /** Two entries of one grain that could both be right, and are not the same. */
  #judgeDifference(word: number, other: number, copyOffset: number): Problem {
    const { isUnclean } = this.#rules;
    const isCopyInUse = this.#sort(other) === 'grain';
    const isLost = isCopyInUse && this.#sort(word) === 'grain';
    // A crash leaves a copy ahead of its table. Without one it may be the last trace of the grain.
    const isGuess = isLost || (isCopyInUse && !isUnclean);
    return {
      kind: 'copies-differ',
      severity: isUnclean && !isLost ? 'unclean' : 'error',
      file: this.#check.file.path,
      offset: copyOffset,
      message: `the grain table has ${word}, its redundant copy ${other}`,
      ...(isGuess ? {} : { repairs: [writeEntry(copyOffset, word, 'the grain table')] }),
    };
  }

  /** Takes back the repairs whose entries lead to where another grain is; the entries of the others. */
  #settle(found: Uint32Array): Uint32Array {
    const words = sorted([Uint32Array.from(this.#taken, ({ word }) => word)]);
    const twice = overlapping(words, this.#step);
    return Uint32Array.from(
      this.#taken.flatMap(({ problem, word }) => {
        if (!isNear(found, word, this.#step) && !isNear(twice, word, 1)) return [word];
        this.#check.problems.withdrawRepairs(problem);
        return [];
      }),
    );
  }

  /** Reports every grain whose entry is one of `shared`. */
  #reportShared(shared: Uint32Array): void {
    if (shared.length === 0) return;
    const [primary, redundant] = this.#directories.directories;
    for (let table = 0; table < tableCount(this.#geometry); table++) {
      const sector = tableAt(primary, table) || tableAt(redundant, table);
      if (sector === 0) continue;
      this.#read(this.#source, sector).forEach((word, index) => {
        if (!this.#isGrain(table, index, word) || !isNear(shared, word, 1)) return;
        this.#report(table, index, {
          kind: 'shared-grain',
          severity: 'error',
          offset: sector * SECTOR_BYTES + index * ENTRY_BYTES,
          message: `the entry leads to byte ${word * SECTOR_BYTES}, where another grain is too`,
        });
      });
    }
  }

  #report(table: number, index: number, problem: Omit<Problem, 'file'>): Problem | undefined {
    const grain = this.#grainOf(table, index);
    return report(this.#check, { ...problem, grain }, this.#geometry.grainBytes);
  }
}

/** Where metadata and grains are; what is not there of a file is not in use. */
export function usedIntervals(
  geometry: Geometry,
  metadata: Intervals,
  sectors: Uint32Array,
): Intervals {
  const startOf = (index: number): number => (sectors[index] ?? 0) * SECTOR_BYTES;
  return joinStarts(metadata, sectors.length, startOf, geometry.grainBytes);
}

function writeEntry(position: number, entry: number, from: string): Repair {
  const writes = [{ position, bytes: u32Bytes(entry) }];
  return { phase: 'tables', what: `take the entry of ${from} (${entry})`, writes };
}

function describe(sort: 'beyond-end' | 'over-metadata', word: number): string {
  const place = word * SECTOR_BYTES;
  return sort === 'beyond-end'
    ? `the entry leads to byte ${place}, past the end of the file`
    : `the entry leads to byte ${place}, over the extent's own metadata`;
}
