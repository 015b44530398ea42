/**
 * Opening a seSparse extent. Grains, tables, the bitmap of grains in use and the map back from grains
 * to the disk each have a region of their own, whose places the header gives; the directory leads to
 * tables by number.
 *
 * New grains go behind the last one that the bitmap or a table knows. There are no more grains in the
 * file than on the disk, though. Each crash leaves some that only the bitmap knows: where the rest of
 * the disk would find no room behind those, they are taken again. And when the end is reached, those
 * are taken that the bitmap has as free: what a guest discarded. An unmapped entry may still name its
 * old grain, and is not harmed by it.
 */
import { alignUp } from '../binary/alignment.js';
import { intervalsOf } from '../binary/intervals.js';
import { grainCount, tableCount } from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import {
  decodeSeSparseHeader,
  decodeVolatileHeader,
  type SeSparseHeader,
  type SeSparseVolatile,
} from '../vmdk/se-sparse-header.js';
import { SESPARSE_ENTRY_BYTES } from '../vmdk/se-sparse-regions.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { newRecordEnds } from './allocation-record.js';
import { checkTables, type TablesChecked } from './check-tables.js';
import {
  assertCovered,
  checkedSparse,
  type CheckedExtent,
  type ExtentPlace,
  type ExtentUse,
  type SparseFacts,
} from './checked-extent.js';
import { readBytes } from './find-descriptor.js';
import { describeAllocator } from './grain-allocator.js';
import { TABLE_MISSING } from './grain-tables.js';
import { HostFile } from './host-file.js';
import { lengthNow, type OpenedFile, type OpenedFiles } from './opened-files.js';
import { decodeSeSparseDirectory, SeSparseCodec } from './se-sparse-codec.js';
import { entryFor, placeOf } from './table-codec.js';

/** Bytes of the bitmap looked at in one piece, from its end. */
const BITMAP_BYTES = 1024 * 1024;

/**
 * Checks an extent at `place` of the disk; `files` counts its tables.
 *
 * @throws VmdkError that says what is wrong with it
 */
export function checkSeSparse(
  files: OpenedFiles,
  file: OpenedFile,
  place: ExtentPlace,
  use: ExtentUse,
): CheckedExtent {
  const header = decodeSeSparseHeader(readBytes(file, 0, SECTOR_BYTES), file.path);
  const sector = readBytes(file, header.volatileOffset, SECTOR_BYTES);
  const state = decodeVolatileHeader(sector, file.path);
  assertJournalEmpty(file, state);
  assertCovered(file, header.capacity, header.grainBytes, place.size);
  const count = tableCount(header);
  files.claimTables(count, file.path);
  const directory = readDirectory(file, header, count);
  if (!use.readOnly) assertWritable(file, header, state, directory);
  const { grainBytes, tableEntries } = header;
  const scales = new SeSparseCodec(header);
  const tables = {
    codec: { kind: 'seSparse', header } as const,
    tableEntries,
    directories: [directory],
    bounds: {
      path: file.path,
      grainBytes,
      footprint: grainBytes,
      places: scales.grains,
      grainCount: grainCount(header),
      metadata: intervalsOf(Float64Array.of(0), header.grains.offset),
    },
  };
  const checked = checkTables(file, tables);
  const end = use.readOnly ? checked.grainsEnd : grainsEnd(file, header, checked);
  return checkedSparse({
    file,
    place,
    tables,
    checked,
    ...allocation(file, header, state, { end, allocated: checked.allocated }),
    readOnly: use.readOnly,
    isSpaceFresh: false,
    directoryOffsets: [header.directory.offset],
    hasZeroedGrains: true,
    firstWrites: [],
    lastWrites: [],
  });
}

/** Where new grains and tables come from, and what is noted of them. */
function allocation(
  file: OpenedFile,
  header: SeSparseHeader,
  state: SeSparseVolatile,
  found: { readonly end: number; readonly allocated: number },
): Pick<SparseFacts, 'allocator' | 'free' | 'record'> {
  const { grainBytes, grains, tableBytes, tables } = header;
  const slots = slotCount(header);
  const start = tables.offset + state.freeTableNumber * tableBytes;
  const plan = {
    path: file.path,
    grainBytes,
    tableBytes,
    tables: new SeSparseCodec(header).tables,
    limit: grains.offset + slots * grainBytes,
    full: { code: 'ENOSPC', reason: 'every grain of the seSparse extent was used' },
    hasTableArea: true,
  } as const;
  const tableArea = { start, end: tables.offset + tables.length };
  return {
    allocator: describeAllocator(plan, { ...found, tableArea }),
    free: {
      header,
      cursor: new SharedArrayBuffer(8),
      end: Math.min(slots, (found.end - grains.offset) / grainBytes),
    },
    record: { kind: 'seSparse', header, written: newRecordEnds(found.end, start) },
  };
}

/** What waits in the journal is newer than what the tables say. */
function assertJournalEmpty(file: OpenedFile, state: SeSparseVolatile): void {
  if (!state.replayJournal) return;
  throw new VmdkError(
    'VMDK_UNSUPPORTED',
    file.path,
    'its journal has changes that ESXi did not finish, which only ESXi can replay; open the disk there once, or consolidate it',
  );
}

/** @throws VmdkError for an entry that leads outside the region of tables or the file */
function readDirectory(file: OpenedFile, header: SeSparseHeader, count: number): Uint32Array {
  const wide = new Uint32Array(2 * count);
  const bytes = new Uint8Array(wide.buffer);
  new HostFile(file).read(bytes, 0, bytes.length, header.directory.offset);
  const directory = decodeSeSparseDirectory(wide, file.path);
  const { tables } = new SeSparseCodec(header);
  const end = Math.min(lengthNow(file), header.tables.offset + header.tables.length);
  directory.forEach((entry, index) => {
    if (entry === TABLE_MISSING) return;
    const start = placeOf(tables, entry);
    if (start + header.tableBytes <= end) return;
    throw new VmdkError(
      'VMDK_BAD_DIRECTORY',
      file.path,
      `entry ${index} of the grain directory leads to a table at byte ${start}, tables end at byte ${end}; the image is truncated or corrupt`,
    );
  });
  return directory;
}

/** New tables are numbered on from the volatile header: one in use must not come up again. */
function assertWritable(
  file: OpenedFile,
  header: SeSparseHeader,
  state: SeSparseVolatile,
  directory: Uint32Array,
): void {
  const { tables } = new SeSparseCodec(header);
  const used = directory.filter((entry) => entry !== TABLE_MISSING).sort();
  const next = header.tables.offset + state.freeTableNumber * header.tableBytes;
  const shared = used.find((entry, index) => entry === used[index + 1]);
  const last = used.at(-1);
  const isNumbered =
    Number.isSafeInteger(state.freeTableNumber) &&
    next <= header.tables.offset + header.tables.length &&
    (last === undefined || last < entryFor(tables, next));
  if (shared === undefined && isNumbered) return;
  const reason =
    shared === undefined
      ? `the number of the next grain table, ${state.freeTableNumber}, is not that of a free one`
      : 'two entries of the grain directory lead to one table';
  throw new VmdkError('VMDK_BAD_DIRECTORY', file.path, `${reason}; it can be mounted with -o ro`);
}

/**
 * How many grains the file has room for. Each needs a bit and an entry of the backmap. A disk that is
 * no multiple of a grain ends in the middle of the last one, which is whole all the same.
 */
function slotCount(header: SeSparseHeader): number {
  const { backMap, directory, freeBitmap, grainBytes, grains, journal, tables } = header;
  const behind = [backMap, directory, freeBitmap, journal, tables]
    .map(({ offset }) => offset)
    .filter((offset) => offset > grains.offset);
  const room = Math.min(
    alignUp(grains.length, grainBytes),
    ...behind.map((at) => at - grains.offset),
  );
  return Math.floor(
    Math.min(room / grainBytes, freeBitmap.length * 8, backMap.length / SESPARSE_ENTRY_BYTES),
  );
}

/** Where the next grain goes. */
function grainsEnd(file: OpenedFile, header: SeSparseHeader, checked: TablesChecked): number {
  const { grainBytes, grains } = header;
  const inTables = Math.max(grains.offset, checked.grainsEnd);
  const end = Math.max(inTables, bitmapEnd(file, header));
  const wanted = (grainCount(header) - checked.allocated) * grainBytes;
  return end + wanted <= grains.offset + slotCount(header) * grainBytes ? end : inTables;
}

/** Where the last grain ends that the bitmap has as used; the start of the grains without one. */
function bitmapEnd(file: OpenedFile, header: SeSparseHeader): number {
  const { freeBitmap, grainBytes, grains } = header;
  const count = slotCount(header);
  const bitmap = Math.min(freeBitmap.length, Math.ceil(count / 8));
  // Most of the bitmap of a large disk is a hole.
  const pieces = dataOf(new HostFile(file), freeBitmap.offset, freeBitmap.offset + bitmap);
  for (const { start, end } of pieces.toReversed()) {
    for (let to = end; to > start; to -= BITMAP_BYTES) {
      const from = Math.max(start, to - BITMAP_BYTES);
      const bits = readBytes(file, from, to - from);
      const last = bits.findLastIndex((byte) => byte !== 0);
      if (last < 0) continue;
      const highest = 31 - Math.clz32(bits[last] ?? 0);
      const index = (from + last - freeBitmap.offset) * 8 + highest;
      return grains.offset + Math.min(index + 1, count) * grainBytes;
    }
  }
  return grains.offset;
}

/** The stretches of `[start, end)` for which the host has data. */
function dataOf(file: HostFile, start: number, end: number): { start: number; end: number }[] {
  const pieces: { start: number; end: number }[] = [];
  for (let at = start; at < end;) {
    const data = file.nextData(at, end);
    if (data >= end) break;
    at = file.nextHole(data, end);
    pieces.push({ start: data, end: at });
  }
  return pieces;
}
