/**
 * What is wrong with the entries of grain directories, and what mends it: an entry that leads to no
 * table, where the other directory leads to a good one, gets a copy of that. The copy goes to where
 * VMware lays the table out, if every good entry of the directory says that it was laid out so and
 * nothing else is there, and to the end of the file otherwise.
 */
import { u32Bytes } from '../../binary/struct.js';
import { findOverlap, intervalsOf, type Intervals } from '../../binary/intervals.js';
import { alignUp } from '../../binary/alignment.js';
import {
  directoryBytes,
  ENTRY_BYTES,
  tableBytes,
  tableCount,
  type Geometry,
} from '../../vmdk/layout.js';
import { SECTOR_BYTES, SPARSE_FILE_BYTES_MAX } from '../../vmdk/limits.js';
import { HostFile } from '../host-file.js';
import { tableAt, type CheckedDirectories, type Directory } from './check-directories.js';
import { report, type ExtentCheck } from './extent-check.js';
import type { Repair } from './problem.js';

/** What is in use of the file besides; bytes. */
export interface SpaceInUse {
  readonly isUnclean: boolean;
  /** Everything that tables, directories and grains take up. */
  readonly used: Intervals;
  /** Where all of it ends, in the file or past its end. */
  readonly end: number;
}

/** Where repairs put tables. */
export interface MendedDirectories {
  readonly planned: Intervals;
  /** Whether one of them is at the end of the file. */
  readonly growsFile: boolean;
}

/** Reports all entries that lead to no table. */
export function reportDirectories(
  check: ExtentCheck,
  geometry: Geometry,
  { directories }: CheckedDirectories,
  space: SpaceInUse,
): MendedDirectories {
  const mender = new Mender(check, geometry, space);
  for (let table = 0; table < tableCount(geometry); table++) {
    directories.forEach((directory, index) => {
      mender.examine(directory, table, tableAt(directories[1 - index], table));
    });
  }
  return mender.result();
}

class Mender {
  readonly #check: ExtentCheck;
  readonly #geometry: Geometry;
  readonly #space: SpaceInUse;
  readonly #size: number;
  readonly #isLaidOut = new Map<Directory, boolean>();
  readonly #planned: number[] = [];
  readonly #mayGrow: boolean;
  #end: number;
  #growsFile = false;

  constructor(check: ExtentCheck, geometry: Geometry, space: SpaceInUse) {
    this.#check = check;
    this.#geometry = geometry;
    this.#space = space;
    this.#size = tableBytes(geometry);
    // The last grain may be cut short by the end of the file, and need not be aligned.
    this.#end = alignUp(Math.max(check.file.length, space.end), geometry.grainBytes);
    // A longer file would give bytes to entries that lead past its end.
    this.#mayGrow = !check.problems.list.some(
      ({ file, kind, repairs }) =>
        file === check.file.path && kind === 'beyond-end' && repairs === undefined,
    );
  }

  /** @param other the sector of the table in the other directory, or 0 */
  examine(directory: Directory, table: number, other: number): void {
    const sector = directory.entries[table] ?? 0;
    if (!directory.isPlaced || directory.isGood[table] === 1) return;
    if (sector === 0 && other === 0) return;
    const repairs = other === 0 ? undefined : this.#copyOf(directory, table, other);
    const isEmpty = sector === 0;
    report(this.#check, {
      kind: 'directory-entry',
      severity: isEmpty && this.#space.isUnclean ? 'unclean' : 'error',
      offset: directory.offset + table * ENTRY_BYTES,
      message: isEmpty
        ? `entry ${table} of the ${directory.name} is empty, that of the other directory is not`
        : `entry ${table} of the ${directory.name} leads to no grain table (sector ${sector})`,
      ...(repairs === undefined ? {} : { repairs }),
    });
  }

  result(): MendedDirectories {
    const starts = Float64Array.from(this.#planned).sort();
    return { planned: intervalsOf(starts, this.#size), growsFile: this.#growsFile };
  }

  #copyOf(directory: Directory, table: number, other: number): Repair[] | undefined {
    if (this.#check.problems.isFull) return undefined;
    const place = this.#laidOut(directory, table) ?? this.#atEnd();
    if (place === undefined) return undefined;
    this.#planned.push(place);
    const bytes = new Uint8Array(this.#size);
    new HostFile(this.#check.file).read(bytes, 0, this.#size, other * SECTOR_BYTES);
    const sector = u32Bytes(place / SECTOR_BYTES);
    const entry = { position: directory.offset + table * ENTRY_BYTES, bytes: sector };
    return [
      {
        phase: 'tables',
        what: `copy the table of the other directory to byte ${place}`,
        writes: [{ position: place, bytes }],
      },
      { phase: 'directories', what: 'let the entry lead there', writes: [entry] },
    ];
  }

  /** Where VMware lays the table out, if all good entries of the directory say that it did. */
  #laidOut(directory: Directory, table: number): number | undefined {
    const first = directory.offset + directoryBytes(this.#geometry);
    const place = first + table * this.#size;
    if (!this.#followsLayout(directory, first)) return undefined;
    if (place + this.#size > this.#check.file.length) return undefined;
    if (findOverlap(this.#space.used, place, this.#size) >= 0) return undefined;
    const isTaken = this.#planned.some((other) => Math.abs(other - place) < this.#size);
    return isTaken ? undefined : place;
  }

  #followsLayout(directory: Directory, first: number): boolean {
    let follows = this.#isLaidOut.get(directory);
    follows ??= directory.entries.every(
      (sector, index) =>
        directory.isGood[index] === 0 || sector * SECTOR_BYTES === first + index * this.#size,
    );
    this.#isLaidOut.set(directory, follows);
    return follows;
  }

  #atEnd(): number | undefined {
    const place = this.#end;
    if (!this.#mayGrow || place + this.#size > SPARSE_FILE_BYTES_MAX) return undefined;
    this.#growsFile = true;
    this.#end += alignUp(this.#size, this.#geometry.grainBytes);
    return place;
  }
}
