/**
 * Checking the tables of a hosted or COWD extent: every entry of every directory and table by
 * itself, both copies against each other, and all grains against each other.
 *
 * The primary table is what everybody reads. Where an entry of it cannot be right and the copy's can,
 * the copy's is taken; where the copy differs otherwise, it is made equal. Where both lead to grains,
 * different ones, nobody can know.
 */
import { findOverlap, intervalsOf, joinIntervals, type Intervals } from '../../binary/intervals.js';
import { isAllocated } from '../../vmdk/grain-entry.js';
import { ENTRY_BYTES, grainCount, tableBytes, type Geometry } from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { HostFile } from '../host-file.js';
import type { CheckedDirectories } from './check-directories.js';
import { SECTOR_SCALE } from '../table-codec.js';
import { report, reportShared, u32Bytes, type ExtentCheck } from './extent-check.js';
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

/** Checks all tables that `directories` lead to. */
export function checkSectorTables(
  check: ExtentCheck,
  geometry: Geometry,
  directories: CheckedDirectories,
  isUnclean: boolean,
): GrainsFound {
  return new SectorTables(check, geometry, directories, isUnclean).check();
}

class SectorTables {
  readonly #check: ExtentCheck;
  readonly #geometry: Geometry;
  readonly #directories: CheckedDirectories;
  readonly #isUnclean: boolean;
  readonly #source: HostFile;
  readonly #grains: number;
  readonly #found: Uint32Array[] = [];

  constructor(
    check: ExtentCheck,
    geometry: Geometry,
    directories: CheckedDirectories,
    isUnclean: boolean,
  ) {
    this.#check = check;
    this.#geometry = geometry;
    this.#directories = directories;
    this.#isUnclean = isUnclean;
    this.#source = new HostFile(check.file);
    this.#grains = grainCount(geometry);
  }

  check(): GrainsFound {
    const { tables } = this.#directories;
    tables.forEach(({ primary, redundant }, table) => {
      if (table % PROGRESS_TABLES === 0) this.#check.progress(table / tables.length);
      const words = primary === 0 ? undefined : this.#read(primary);
      const copy = redundant === 0 ? undefined : this.#read(redundant);
      const used = words ?? copy;
      if (used === undefined) return;
      const places = { words: primary, copy: redundant };
      if (words !== undefined && copy !== undefined) this.#compare(table, words, copy, places);
      else this.#checkAlone(table, used, primary === 0 ? redundant : primary);
      this.#found.push(used.filter((word, index) => this.#isGrain(table, index, word)));
    });
    return this.#conclude();
  }

  #read(sector: number): Uint32Array {
    const words = new Uint32Array(tableBytes(this.#geometry) / ENTRY_BYTES);
    const bytes = new Uint8Array(words.buffer);
    this.#source.read(bytes, 0, bytes.length, sector * SECTOR_BYTES);
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
    const isOver = findOverlap(metadata, start, this.#geometry.grainBytes) >= 0;
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
      this.#report(table, index, problem);
      // From here on the entry is what it will be when it is mended.
      const isTaken = problem.kind !== 'copies-differ' && problem.repairs !== undefined;
      if (isTaken && problem.offset === offset) words[index] = other;
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
    const isLost = sort === 'grain' && otherSort === 'grain';
    return {
      kind: 'copies-differ',
      severity: this.#isUnclean && !isLost ? 'unclean' : 'error',
      file,
      offset: copyOffset,
      message: `the grain table has ${word}, its redundant copy ${other}`,
      ...(isLost ? {} : { repairs: [writeEntry(copyOffset, word, 'the grain table')] }),
    };
  }

  #report(table: number, index: number, problem: Omit<Problem, 'file'>): void {
    const grain = this.#grainOf(table, index);
    report(this.#check, { ...problem, grain }, this.#geometry.grainBytes);
  }

  #conclude(): GrainsFound {
    const { grainBytes } = this.#geometry;
    const sectors = reportShared(this.#check, this.#found, SECTOR_SCALE, grainBytes);
    const last = sectors.at(-1);
    return { sectors, end: last === undefined ? 0 : last * SECTOR_BYTES + grainBytes };
  }
}

/** Where metadata and grains are; what is not there of a file is not in use. */
export function usedIntervals(
  geometry: Geometry,
  metadata: Intervals,
  sectors: Uint32Array,
): Intervals {
  const starts = Float64Array.from(sectors, (sector) => sector * SECTOR_BYTES);
  return joinIntervals(metadata, intervalsOf(starts, geometry.grainBytes));
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
