/**
 * Checking the grain directories of a hosted or COWD extent, as far as they can be followed. What is
 * wrong with an entry is said later, when it is known where the grains are: `mend-directories.ts`.
 */
import { findOverlap, intervalsOf, joinIntervals, NO_INTERVALS } from '../../binary/intervals.js';
import type { Intervals } from '../../binary/intervals.js';
import { ENTRY_BYTES, tableBytes, tableCount, type Geometry } from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import type { Area } from '../directories.js';
import { HostFile } from '../host-file.js';
import { isNear, overlapping, report, sorted, type ExtentCheck } from './extent-check.js';

/** One directory. */
export interface Directory {
  readonly name: string;
  /** Byte of the file at which it begins. */
  readonly offset: number;
  /** Whether it lies in the file and over nothing else; nothing is to be written there if not. */
  readonly isPlaced: boolean;
  readonly entries: Uint32Array;
  /** For each entry 1 where it leads to a table, 0 where not. */
  readonly isGood: Uint8Array;
}

/** Directories as far as they can be followed. */
export interface CheckedDirectories {
  /** Primary first. */
  readonly directories: readonly Directory[];
  /** Everything in the file that is not a grain; bytes. */
  readonly metadata: Intervals;
}

const NAMES = ['grain directory', 'redundant grain directory'];

/**
 * Checks the directories at `offsets`, primary first, with `reserved` before them; bytes.
 *
 * @throws VmdkError VMDK_BAD_CAPACITY
 */
export function checkDirectories(
  check: ExtentCheck,
  geometry: Geometry,
  offsets: readonly number[],
  reserved: readonly Area[],
): CheckedDirectories {
  check.files.claimTables(tableCount(geometry), check.file.path);
  const length = tableCount(geometry) * ENTRY_BYTES;
  let fixed = reserved.map(intervalOf).reduce(joinIntervals, NO_INTERVALS);
  const places = offsets.map((offset, index) => {
    const name = NAMES[index] ?? '';
    const isPlaced = isWhole(check, name, { start: offset, length }, fixed);
    if (isPlaced) fixed = joinIntervals(fixed, intervalOf({ start: offset, length }));
    return { name, offset, isPlaced };
  });
  const directories = places.map((place) => readDirectory(check, geometry, place, fixed));
  refuseShared(geometry, directories);
  const metadata = directories
    .map((directory) => tablesOf(geometry, directory))
    .reduce(joinIntervals, fixed);
  return { directories, metadata };
}

/** The sector of a table of `directory`; 0 where it leads to none. */
export function tableAt(directory: Directory | undefined, table: number): number {
  return directory?.isGood[table] === 1 ? (directory.entries[table] ?? 0) : 0;
}

function intervalOf({ length, start }: Area): Intervals {
  return length === 0 ? NO_INTERVALS : intervalsOf(Float64Array.of(start), length);
}

/** Reports a directory that is not in the file, or that lies over something else. */
function isWhole(check: ExtentCheck, name: string, area: Area, fixed: Intervals): boolean {
  const end = area.start + area.length;
  const offset = area.start;
  if (end > check.file.length) {
    const message = `the ${name} ends at byte ${end}, the file has ${check.file.length}`;
    report(check, { kind: 'truncated', severity: 'error', offset, message });
    return false;
  }
  if (findOverlap(fixed, offset, area.length) < 0) return true;
  const message = `the ${name} lies over header, descriptor or the other directory`;
  report(check, { kind: 'unusable', severity: 'error', offset, message });
  return false;
}

function readDirectory(
  check: ExtentCheck,
  geometry: Geometry,
  place: { name: string; offset: number; isPlaced: boolean },
  fixed: Intervals,
): Directory {
  const entries = new Uint32Array(tableCount(geometry));
  const bytes = new Uint8Array(entries.buffer);
  const isGood = new Uint8Array(entries.length);
  if (!place.isPlaced) return { ...place, entries, isGood };
  new HostFile(check.file).read(bytes, 0, bytes.length, place.offset);
  const size = tableBytes(geometry);
  entries.forEach((sector, table) => {
    const start = sector * SECTOR_BYTES;
    const isInside = sector > 1 && start + size <= check.file.length;
    isGood[table] = isInside && findOverlap(fixed, start, size) < 0 ? 1 : 0;
  });
  return { ...place, entries, isGood };
}

/** Tables that lie over each other: neither of two entries is to be believed. */
function refuseShared(geometry: Geometry, directories: readonly Directory[]): void {
  const size = tableBytes(geometry) / SECTOR_BYTES;
  const shared = overlapping(sorted(directories.map(goodSectors)), size);
  if (shared.length === 0) return;
  for (const { entries, isGood } of directories) {
    entries.forEach((sector, table) => {
      if (isGood[table] === 1 && isNear(shared, sector, 1)) isGood[table] = 0;
    });
  }
}

function goodSectors({ entries, isGood }: Directory): Uint32Array {
  return entries.filter((_sector, table) => isGood[table] === 1);
}

function tablesOf(geometry: Geometry, directory: Directory): Intervals {
  const starts = Float64Array.from(goodSectors(directory).sort());
  return intervalsOf(
    starts.map((sector) => sector * SECTOR_BYTES),
    tableBytes(geometry),
  );
}
