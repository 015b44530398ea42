/**
 * Checking the grain directories of a hosted or COWD extent. An entry that leads to no table is
 * mended where the other directory leads to a good one: the table is copied to where VMware lays it
 * out, if every other entry says that it was laid out so, and to the end of the file otherwise.
 */
import { findOverlap, intervalsOf, joinIntervals, NO_INTERVALS } from '../../binary/intervals.js';
import type { Intervals } from '../../binary/intervals.js';
import { alignUp } from '../../binary/alignment.js';
import {
  directoryBytes,
  ENTRY_BYTES,
  tableBytes,
  tableCount,
  type Geometry,
} from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import type { Area } from '../directories.js';
import { HostFile } from '../host-file.js';
import { report, u32Bytes, type ExtentCheck } from './extent-check.js';
import type { Repair } from './problem.js';

/** Sectors of a table and its copy that can be read; 0 where there is none. */
interface TablePlaces {
  readonly primary: number;
  readonly redundant: number;
}

/** Directories as far as they can be followed. */
export interface CheckedDirectories {
  readonly tables: readonly TablePlaces[];
  /** Everything in the file that is not a grain; bytes. */
  readonly metadata: Intervals;
  /** Whether a repair puts tables at the end of the file. */
  readonly growsFile: boolean;
}

interface Directory {
  readonly name: string;
  readonly offset: number;
  readonly entries: Uint32Array;
  /** Entries that lead to a table. */
  readonly isGood: boolean[];
}

/** Checks the directories at `offsets`, primary first, with `reserved` before them; bytes. */
export function checkDirectories(
  check: ExtentCheck,
  geometry: Geometry,
  offsets: readonly number[],
  reserved: readonly Area[],
): CheckedDirectories {
  const length = tableCount(geometry) * ENTRY_BYTES;
  const areas = [...reserved, ...offsets.map((start) => ({ start, length }))];
  const fixed = areas
    .filter((area) => area.length > 0 && area.start < check.file.length)
    .map((area) => intervalsOf(Float64Array.of(area.start), area.length))
    .reduce(joinIntervals, NO_INTERVALS);
  const names = ['grain directory', 'redundant grain directory'];
  const directories = offsets.map((offset, index) =>
    readDirectory(check, geometry, { name: names[index] ?? '', offset }, fixed),
  );
  refuseShared(geometry, directories);
  const metadata = directories
    .map(({ entries, isGood }) => tablesOf(geometry, entries, isGood))
    .reduce(joinIntervals, fixed);
  const mender = new Mender(check, geometry, metadata);
  const [primary, redundant] = directories;
  const tables: TablePlaces[] = [];
  for (let table = 0; table < tableCount(geometry); table++) {
    const place = placeIn(primary, table);
    const copy = placeIn(redundant, table);
    tables.push({ primary: place, redundant: copy });
    if (primary !== undefined) mender.examine(primary, table, copy);
    if (redundant !== undefined) mender.examine(redundant, table, place);
  }
  return { tables, metadata, growsFile: mender.growsFile };
}

function readDirectory(
  check: ExtentCheck,
  geometry: Geometry,
  place: { name: string; offset: number },
  fixed: Intervals,
): Directory {
  const count = tableCount(geometry);
  const entries = new Uint32Array(count);
  const bytes = new Uint8Array(entries.buffer);
  if (place.offset + bytes.length <= check.file.length) {
    new HostFile(check.file).read(bytes, 0, bytes.length, place.offset);
  } else {
    entries.fill(1);
    report(check, {
      kind: 'truncated',
      severity: 'error',
      offset: place.offset,
      message: `the ${place.name} of ${count} entries ends at byte ${place.offset + bytes.length}, the file has ${check.file.length}`,
    });
  }
  const size = tableBytes(geometry);
  const isGood = Array.from(entries, (sector) => {
    const start = sector * SECTOR_BYTES;
    const isInside = sector > 1 && start + size <= check.file.length;
    return isInside && findOverlap(fixed, start, size) < 0;
  });
  return { ...place, entries, isGood };
}

/** Tables that lie over each other: neither of two entries is to be believed. */
function refuseShared(geometry: Geometry, directories: readonly Directory[]): void {
  const all = directories.flatMap((directory) =>
    Array.from(directory.entries, (sector, table) => ({ directory, sector, table })).filter(
      ({ table }) => directory.isGood[table] === true,
    ),
  );
  all.sort((a, b) => a.sector - b.sector);
  const sectors = tableBytes(geometry) / SECTOR_BYTES;
  all.forEach((one, index) => {
    const next = all[index + 1];
    if (next === undefined || next.sector - one.sector >= sectors) return;
    for (const { directory, table } of [one, next]) directory.isGood[table] = false;
  });
}

function tablesOf(geometry: Geometry, entries: Uint32Array, isGood: readonly boolean[]): Intervals {
  const starts = entries.filter((_sector, table) => isGood[table] === true).sort();
  return intervalsOf(
    Float64Array.from(starts, (sector) => sector * SECTOR_BYTES),
    tableBytes(geometry),
  );
}

function placeIn(directory: Directory | undefined, table: number): number {
  return directory?.isGood[table] === true ? (directory.entries[table] ?? 0) : 0;
}

/** Reports bad entries, and says how they can be mended. */
class Mender {
  growsFile = false;
  readonly #check: ExtentCheck;
  readonly #geometry: Geometry;
  readonly #metadata: Intervals;
  #end: number;

  constructor(check: ExtentCheck, geometry: Geometry, metadata: Intervals) {
    this.#check = check;
    this.#geometry = geometry;
    this.#metadata = metadata;
    this.#end = alignUp(check.file.length, geometry.grainBytes);
  }

  /** @param other the sector of the table in the other directory, or 0 */
  examine(directory: Directory, table: number, other: number): void {
    const sector = directory.entries[table] ?? 0;
    if (directory.isGood[table] === true || (sector === 0 && other === 0)) return;
    const repairs = other === 0 ? undefined : this.#copyOf(directory, table, other);
    report(this.#check, {
      kind: 'directory-entry',
      severity: sector === 0 ? 'unclean' : 'error',
      offset: directory.offset + table * ENTRY_BYTES,
      message:
        sector === 0
          ? `entry ${table} of the ${directory.name} is empty, that of the other directory is not`
          : `entry ${table} of the ${directory.name} leads to no grain table (sector ${sector})`,
      ...(repairs === undefined ? {} : { repairs }),
    });
  }

  #copyOf(directory: Directory, table: number, other: number): Repair[] {
    const size = tableBytes(this.#geometry);
    const bytes = new Uint8Array(size);
    new HostFile(this.#check.file).read(bytes, 0, size, other * SECTOR_BYTES);
    const place = this.#laidOut(directory, table) ?? this.#atEnd(size);
    const sector = place / SECTOR_BYTES;
    const entry = { position: directory.offset + table * ENTRY_BYTES, bytes: u32Bytes(sector) };
    return [
      {
        phase: 'tables',
        what: `copy the table of the other directory to byte ${place}`,
        writes: [{ position: place, bytes }],
      },
      { phase: 'directories', what: `let the entry lead there`, writes: [entry] },
    ];
  }

  /** Where VMware lays the table out, if all good entries of the directory say that it did. */
  #laidOut(directory: Directory, table: number): number | undefined {
    const size = tableBytes(this.#geometry);
    const first = directory.offset + directoryBytes(this.#geometry);
    const placeOf = (index: number): number => first + index * size;
    const isLaidOut = directory.entries.every(
      (sector, index) =>
        directory.isGood[index] !== true || sector * SECTOR_BYTES === placeOf(index),
    );
    const place = placeOf(table);
    const isFree = findOverlap(this.#metadata, place, size) < 0;
    return isLaidOut && isFree && place + size <= this.#check.file.length ? place : undefined;
  }

  #atEnd(size: number): number {
    this.growsFile = true;
    const place = this.#end;
    this.#end += alignUp(size, this.#geometry.grainBytes);
    return place;
  }
}
