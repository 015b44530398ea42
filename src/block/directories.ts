/**
 * Reading and checking the grain directories of a sparse extent when it is opened. What comes out
 * is safe to follow: every entry is a table inside the file and not over other metadata, or it is
 * marked missing or damaged.
 *
 * A damaged primary entry is read through the redundant one, and forbids writing; so does a
 * redundant directory that is not there at all. A single damaged redundant entry is only never
 * written through: the primary table alone is kept then.
 */
import { ENTRY_BYTES, tableBytes, tableCount } from '../vmdk/layout.js';
import { DIRECTORY_ENTRIES_MAX, SECTOR_BYTES } from '../vmdk/limits.js';
import type { SparseHeader } from '../vmdk/sparse-extent-header.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { mergeRegions, type Region } from './grain-bounds.js';
import { TABLE_DAMAGED, TABLE_MISSING } from './grain-tables.js';
import { HostFile } from './host-file.js';
import type { OpenedFile } from './opened-files.js';

/** The directories of an extent, checked. */
export interface Directories {
  /** Sectors of the tables, or TABLE_MISSING, TABLE_DAMAGED; primary first. */
  readonly entries: readonly Uint32Array[];
  /** Where they lie in the file, bytes. */
  readonly offsets: readonly number[];
  /** Everything in the file that is not a grain, as `mergeRegions` makes it. */
  readonly metadata: Float64Array;
  /** Why the extent must not be written, or undefined. */
  readonly damage: string | undefined;
}

/**
 * Reads the directories that `header` names.
 *
 * @throws VmdkError VMDK_BAD_DIRECTORY, VMDK_TRUNCATED or VMDK_BAD_CAPACITY where a table can be
 *   reached through no directory
 */
export function readDirectories(file: OpenedFile, header: SparseHeader): Directories {
  const count = tableCount(header);
  if (count === 0 || count > DIRECTORY_ENTRIES_MAX) {
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      file.path,
      `capacity ${header.capacity} bytes needs ${count} grain tables (1 to ${DIRECTORY_ENTRIES_MAX} expected)`,
    );
  }
  const fixed: Region[] = [
    { start: 0, length: SECTOR_BYTES },
    { start: header.descriptorOffset, length: header.descriptorBytes },
  ];
  const offsets = header.hasRedundant ? [header.gdOffset, header.rgdOffset] : [header.gdOffset];
  const areas = offsets.map((offset) => {
    const area = { start: offset, length: count * ENTRY_BYTES };
    const isUsable = isInside(area, file.length) && !overlapsAny(area, fixed);
    if (isUsable) fixed.push(area);
    return isUsable ? area : undefined;
  });
  if (areas.every((area) => area === undefined)) throw noDirectory(file, header, count);
  const [primary = new Uint32Array(0), redundant] = areas.map((area) =>
    readEntries(file, area, count, tableBytes(header), fixed),
  );
  const places = tableRegions(primary, tableBytes(header));
  let damage = damageOf(file, offsets, areas, primary);
  if (hasOverlap(places)) damage ??= 'two grain tables share the same place';
  if (redundant !== undefined) {
    markOverlaps(redundant, tableBytes(header), mergeRegions(places));
    assertReachable(file, primary, redundant);
  } else if (damage !== undefined) throw new VmdkError('VMDK_BAD_DIRECTORY', file.path, damage);
  const copies = redundant === undefined ? [primary] : [primary, redundant];
  const tables = copies.flatMap((entries) => tableRegions(entries, tableBytes(header)));
  return { entries: copies, offsets, metadata: mergeRegions([...fixed, ...tables]), damage };
}

function readEntries(
  file: OpenedFile,
  area: Region | undefined,
  count: number,
  bytesOfTable: number,
  fixed: readonly Region[],
): Uint32Array {
  const entries = new Uint32Array(count).fill(TABLE_DAMAGED);
  if (area === undefined) return entries;
  new HostFile(file).read(new Uint8Array(entries.buffer), 0, area.length, area.start);
  const reserved = mergeRegions(fixed);
  entries.forEach((sector, table) => {
    if (sector === TABLE_MISSING) return;
    const region = { start: sector * SECTOR_BYTES, length: bytesOfTable };
    if (isInside(region, file.length) && !overlapsMerged(region, reserved)) return;
    entries[table] = TABLE_DAMAGED;
  });
  return entries;
}

function tableRegions(entries: Uint32Array, length: number): Region[] {
  const regions: Region[] = [];
  for (const sector of entries) {
    if (sector > TABLE_DAMAGED) regions.push({ start: sector * SECTOR_BYTES, length });
  }
  return regions.sort((a, b) => a.start - b.start);
}

function hasOverlap(sorted: readonly Region[]): boolean {
  return sorted.some((region, index) => {
    const next = sorted[index + 1];
    return next !== undefined && region.start + region.length > next.start;
  });
}

/** Marks redundant tables that lie over primary tables or over each other: writing one would break both. */
function markOverlaps(redundant: Uint32Array, length: number, primary: Float64Array): void {
  const byPlace = [...redundant.keys()]
    .filter((table) => (redundant[table] ?? 0) > TABLE_DAMAGED)
    .sort((a, b) => (redundant[a] ?? 0) - (redundant[b] ?? 0));
  let end = 0;
  for (const table of byPlace) {
    const start = (redundant[table] ?? 0) * SECTOR_BYTES;
    if (start < end || overlapsMerged({ start, length }, primary)) redundant[table] = TABLE_DAMAGED;
    else end = start + length;
  }
}

function damageOf(
  file: OpenedFile,
  offsets: readonly number[],
  areas: readonly (Region | undefined)[],
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

function noDirectory(file: OpenedFile, header: SparseHeader, count: number): VmdkError {
  return new VmdkError(
    file.length < header.overHead ? 'VMDK_TRUNCATED' : 'VMDK_BAD_DIRECTORY',
    file.path,
    `the grain directory of ${count} entries at byte ${header.gdOffset} does not fit the file of ${file.length} bytes; the image is truncated or corrupt`,
  );
}

function isInside(region: Region, length: number): boolean {
  return region.start > 0 && region.start + region.length <= length;
}

function overlapsAny(region: Region, others: readonly Region[]): boolean {
  return overlapsMerged(region, mergeRegions(others.filter((other) => other.length > 0)));
}

/** Whether `region` has a byte in common with any of `merged`, which is ascending. */
function overlapsMerged(region: Region, merged: Float64Array): boolean {
  let low = 0;
  let high = merged.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((merged[2 * middle + 1] ?? 0) <= region.start) low = middle + 1;
    else high = middle;
  }
  const first = merged[2 * low];
  return first !== undefined && first < region.start + region.length;
}
