/**
 * Reading and checking the grain directories of a hosted or COWD extent when it is opened. What comes out
 * is safe to follow: every entry is a table inside the file and not over other metadata, or it is
 * marked missing or damaged.
 *
 * A damaged primary entry is read through the redundant one, and forbids writing; so does a
 * redundant directory that is not there at all, and a redundant entry past the end of the file,
 * where grains would come to lie. Any other damaged redundant entry is only never written through:
 * the primary table alone is kept then.
 */
import {
  findOverlap,
  intervalsOf,
  joinIntervals,
  NO_INTERVALS,
  type Intervals,
} from '../binary/intervals.js';
import { ENTRY_BYTES, tableBytes, tableCount, type Geometry } from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { TABLE_DAMAGED, TABLE_MISSING } from './grain-tables.js';
import { HostFile } from './host-file.js';
import { lengthNow, type OpenedFile } from './opened-files.js';

/** A stretch of the file, in bytes. */
export interface Area {
  readonly start: number;
  readonly length: number;
}

/** Where an extent has its directories, by its header; bytes. */
export interface DirectoryPlan {
  readonly geometry: Geometry;
  /** Where the directories begin; primary first. */
  readonly offsets: readonly number[];
  /** What lies before them: header and descriptor. */
  readonly reserved: readonly Area[];
}

/** The directories of an extent, checked. */
export interface Directories {
  /** Sectors of the tables, or TABLE_MISSING, TABLE_DAMAGED; primary first. */
  readonly entries: readonly Uint32Array[];
  /** Where they lie in the file, bytes. */
  readonly offsets: readonly number[];
  /** Everything in the file that is not a grain. */
  readonly metadata: Intervals;
  /** Why the extent must not be written, or undefined. */
  readonly damage: string | undefined;
}

/**
 * Reads the directories of `plan`.
 *
 * @throws VmdkError VMDK_BAD_DIRECTORY where a table can be reached through no directory
 */
export function readDirectories(file: OpenedFile, plan: DirectoryPlan): Directories {
  const { geometry, offsets } = plan;
  const count = tableCount(geometry);
  const { areas, reserved } = placeDirectories(file, plan, count * ENTRY_BYTES);
  if (areas.every((area) => area === undefined)) throw noDirectory(file, plan, count);
  const length = tableBytes(geometry);
  const copies = areas.map((area) => readEntries(file, area, count, length, reserved));
  const entries = copies.map((copy) => copy.entries);
  const [primary = new Uint32Array(0), redundant] = entries;
  const starts = tableStarts(primary);
  let damage = damageOf(file, offsets, areas, primary) ?? pastEnd(file, offsets, copies);
  if (hasOverlap(starts, length)) damage ??= 'two grain tables share the same place';
  const tables = intervalsOf(starts, length);
  if (redundant !== undefined) {
    markOverlaps(redundant, length, tables);
    assertReachable(file, primary, redundant);
  } else if (damage !== undefined) throw new VmdkError('VMDK_BAD_DIRECTORY', file.path, damage);
  const copyTables =
    redundant === undefined ? NO_INTERVALS : intervalsOf(tableStarts(redundant), length);
  const metadata = joinIntervals(reserved, joinIntervals(tables, copyTables));
  return { entries, offsets, metadata, damage };
}

/**
 * Where the directories lie, undefined where one does not fit the file or lies over what comes
 * before it, and everything that they, the header and the descriptor take up.
 */
function placeDirectories(
  file: OpenedFile,
  plan: DirectoryPlan,
  length: number,
): { areas: (Area | undefined)[]; reserved: Intervals } {
  let reserved = plan.reserved.map(areaIntervals).reduce(joinIntervals, NO_INTERVALS);
  const areas = plan.offsets.map((start) => {
    if (!fits(lengthNow(file), reserved, start, length)) return undefined;
    reserved = joinIntervals(reserved, areaIntervals({ start, length }));
    return { start, length };
  });
  return { areas, reserved };
}

function areaIntervals(area: Area): Intervals {
  return area.length === 0 ? NO_INTERVALS : intervalsOf(Float64Array.of(area.start), area.length);
}

/** One directory as it was read. */
interface Copy {
  readonly entries: Uint32Array;
  /** The first entry whose table does not end inside the file, or -1. */
  readonly pastEnd: number;
}

function readEntries(
  file: OpenedFile,
  area: Area | undefined,
  count: number,
  length: number,
  reserved: Intervals,
): Copy {
  const entries = new Uint32Array(count).fill(TABLE_DAMAGED);
  if (area === undefined) return { entries, pastEnd: -1 };
  new HostFile(file).read(new Uint8Array(entries.buffer), 0, area.length, area.start);
  const fileEnd = lengthNow(file);
  const pastEnd = entries.findIndex(
    (sector) => sector !== TABLE_MISSING && sector * SECTOR_BYTES + length > fileEnd,
  );
  entries.forEach((sector, table) => {
    if (sector === TABLE_MISSING) return;
    const start = sector * SECTOR_BYTES;
    if (!fits(fileEnd, reserved, start, length)) entries[table] = TABLE_DAMAGED;
  });
  return { entries, pastEnd };
}

/** Where the tables begin that can be followed, ascending, in bytes. */
function tableStarts(entries: Uint32Array): Float64Array {
  const sectors = entries.filter((sector) => sector > TABLE_DAMAGED).sort();
  return Float64Array.from(sectors, (sector) => sector * SECTOR_BYTES);
}

function hasOverlap(starts: Float64Array, length: number): boolean {
  return starts.some((start, index) => start + length > (starts[index + 1] ?? Infinity));
}

/** Marks redundant tables that lie over primary tables or over each other: writing one would break both. */
function markOverlaps(redundant: Uint32Array, length: number, primary: Intervals): void {
  const starts = tableStarts(redundant);
  const shared = new Set<number>();
  starts.forEach((start, index) => {
    const next = starts[index + 1] ?? Infinity;
    if (start + length > next) shared.add(start).add(next);
  });
  redundant.forEach((sector, table) => {
    if (sector <= TABLE_DAMAGED) return;
    const start = sector * SECTOR_BYTES;
    const isOver = shared.has(start) || findOverlap(primary, start, length) >= 0;
    if (isOver) redundant[table] = TABLE_DAMAGED;
  });
}

function damageOf(
  file: OpenedFile,
  offsets: readonly number[],
  areas: readonly (Area | undefined)[],
  primary: Uint32Array,
): string | undefined {
  const missing = areas.indexOf(undefined);
  const name = missing === 1 ? 'redundant grain directory' : 'grain directory';
  if (missing >= 0) {
    return `${name} at byte ${offsets[missing] ?? 0} does not fit the file of ${file.length} bytes`;
  }
  const table = primary.indexOf(TABLE_DAMAGED);
  if (table < 0) return undefined;
  return `${name} at byte ${offsets[0] ?? 0} leads to no valid grain table at entry ${table}, the file has ${file.length} bytes`;
}

function pastEnd(
  file: OpenedFile,
  offsets: readonly number[],
  copies: readonly Copy[],
): string | undefined {
  const index = copies.findIndex((copy) => copy.pastEnd >= 0);
  if (index < 0) return undefined;
  return `grain directory at byte ${offsets[index] ?? 0} leads past the end of the file (${file.length} bytes) at entry ${copies[index]?.pastEnd ?? 0}`;
}

function assertReachable(file: OpenedFile, primary: Uint32Array, redundant: Uint32Array): void {
  primary.forEach((sector, table) => {
    if (sector !== TABLE_DAMAGED || (redundant[table] ?? 0) > TABLE_DAMAGED) return;
    throw new VmdkError(
      'VMDK_BAD_DIRECTORY',
      file.path,
      `entry ${table} of both grain directories leads to no valid grain table (the file has ${file.length} bytes); the image is truncated or corrupt`,
    );
  });
}

function noDirectory(file: OpenedFile, plan: DirectoryPlan, count: number): VmdkError {
  return new VmdkError(
    'VMDK_BAD_DIRECTORY',
    file.path,
    `the grain directory of ${count} entries at byte ${plan.offsets[0] ?? 0} does not fit the file of ${file.length} bytes; the image is truncated or corrupt`,
  );
}

/** Whether a stretch lies inside the file, which ends at `fileEnd`, and over nothing that is reserved. */
function fits(fileEnd: number, reserved: Intervals, start: number, length: number): boolean {
  const isInside = start > 0 && start + length <= fileEnd;
  return isInside && findOverlap(reserved, start, length) < 0;
}
