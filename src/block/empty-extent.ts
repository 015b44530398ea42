/**
 * Emptying a sparse extent whose grains its parent has by now. First the entries go, and only when
 * that is durable the grains and what is noted of them; so wherever it is cut off each grain is
 * there or shows through from beneath, which is the same. It can be done again from there.
 *
 *   hosted     tables become zeros, both copies, and stay where they are
 *   COWD       the directory becomes zeros, and free space begins behind it
 *   seSparse   the directory becomes zeros, then the bitmap, the backmap and the number of tables
 */
import { alignUp } from '../binary/alignment.js';
import { u32Bytes } from '../binary/struct.js';
import { CowdHeader, decodeCowdHeader } from '../vmdk/cowd-header.js';
import { ENTRY_BYTES } from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { SeSparseVolatileHeader, type SeSparseHeader } from '../vmdk/se-sparse-header.js';
import { SESPARSE_ENTRY_BYTES, type Region } from '../vmdk/se-sparse-regions.js';
import { decodeSparseHeader, SparseExtentHeader } from '../vmdk/sparse-extent-header.js';
import { isZero } from '../binary/zeros.js';
import { TABLE_DAMAGED } from './grain-tables.js';
import { HostFile } from './host-file.js';
import { writeAll, type SparseExtentDescription } from './sparse-extent.js';
import { placeOf, SECTOR_SCALE } from './table-codec.js';

const PIECE_BYTES = 1024 * 1024;

/**
 * Makes an extent hold nothing, durably. It is open for writing, and nobody uses it.
 *
 * @throws the system's error
 */
export function emptyExtent(extent: SparseExtentDescription): void {
  const file = new HostFile(extent.file);
  switch (extent.record.kind) {
    case 'none':
      emptyHosted(extent, file);
      break;
    case 'cowd':
      emptyCowd(extent, file);
      break;
    case 'seSparse':
      emptySeSparse(extent.tables.tableCount, file, extent.record.header);
      break;
  }
}

function emptyHosted(extent: SparseExtentDescription, file: HostFile): void {
  const { offset: unclean } = SparseExtentHeader.uncleanShutdown;
  const tables = usedTables(extent, file);
  const bytes = extent.tables.tableEntries * ENTRY_BYTES;
  if (tables.length > 0) {
    write(file, Uint8Array.of(1), unclean);
    file.sync();
    const zeros = new Uint8Array(bytes);
    for (const position of tables) write(file, zeros, position);
    file.sync();
  }
  const head = new Uint8Array(SECTOR_BYTES);
  file.read(head, 0, head.length, 0);
  const { overHead } = decodeSparseHeader(head, file.path);
  const { metadata } = extent.bounds;
  cutOff(file, alignUp(Math.max(overHead, metadata.at(-1) ?? 0), extent.grainBytes));
  // Tables that were made later lie between grains.
  for (let index = 1; index + 1 < metadata.length; index += 2) {
    const start = Math.max(overHead, metadata[index] ?? 0);
    const end = metadata[index + 1] ?? 0;
    if (end > start) file.punch(start, end - start);
  }
  closeCleanly(extent, file);
}

/** Where the copies of all tables are of which at least one leads somewhere. */
function usedTables(extent: SparseExtentDescription, file: HostFile): number[] {
  const directories = extent.tables.directories.map((shared) => new Uint32Array(shared));
  const table = new Uint8Array(extent.tables.tableEntries * ENTRY_BYTES);
  const found: number[] = [];
  for (let index = 0; index < extent.tables.tableCount; index++) {
    const places = directories
      .map((directory) => directory[index] ?? 0)
      .filter((entry) => entry > TABLE_DAMAGED)
      .map((entry) => placeOf(SECTOR_SCALE, entry));
    const isUsed = places.some((position) => {
      file.read(table, 0, table.length, position);
      return !isZero(table, 0, table.length);
    });
    if (isUsed) found.push(...places);
  }
  return found;
}

/** The directory is as long as its header says: the disk may need fewer entries than it has. */
function emptyCowd(extent: SparseExtentDescription, file: HostFile): void {
  const { freeSector, uncleanShutdown } = CowdHeader;
  const head = new Uint8Array(CowdHeader.byteLength);
  file.read(head, 0, head.length, 0);
  const { directoryBytes: length, gdOffset: offset } = decodeCowdHeader(head, file.path);
  if (hasData(file, { offset, length })) {
    write(file, u32Bytes(1), uncleanShutdown.offset);
    file.sync();
    clear(file, { offset, length });
    file.sync();
  }
  const end = offset + length;
  write(file, u32Bytes(end / SECTOR_BYTES), freeSector.offset);
  cutOff(file, end);
  closeCleanly(extent, file);
}

function emptySeSparse(tableCount: number, file: HostFile, header: SeSparseHeader): void {
  const { backMap, directory, freeBitmap, grains, journal, tables } = header;
  clear(file, { offset: directory.offset, length: tableCount * SESPARSE_ENTRY_BYTES });
  file.sync();
  clear(file, freeBitmap);
  clear(file, backMap);
  const { freeGTNumber } = SeSparseVolatileHeader;
  write(file, new Uint8Array(SESPARSE_ENTRY_BYTES), header.volatileOffset + freeGTNumber.offset);
  const isLast = [backMap, directory, freeBitmap, journal, tables].every(
    ({ offset }) => offset < grains.offset,
  );
  if (isLast) cutOff(file, grains.offset);
  else file.punch(grains.offset, grains.length);
  file.sync();
}

/** The extent was closed, unless something of a crash stays. */
function closeCleanly({ lastWrites }: SparseExtentDescription, file: HostFile): void {
  writeAll(file, lastWrites);
  file.sync();
}

/** Makes the file end at `end`, where it is longer. */
function cutOff(file: HostFile, end: number): void {
  if (file.length() > end) file.setLength(end);
}

/** Zeros a region where it has data: most of one may be a hole. */
function clear(file: HostFile, region: Region): void {
  const zeros = new Uint8Array(PIECE_BYTES);
  for (const { length, offset } of dataIn(file, region)) write(file, zeros, offset, length);
}

function hasData(file: HostFile, region: Region): boolean {
  return !dataIn(file, region).next().done;
}

/** The pieces of a region that are not zeros. */
function* dataIn(file: HostFile, { length, offset }: Region): Generator<Region> {
  const bytes = new Uint8Array(Math.min(PIECE_BYTES, length));
  const end = Math.min(offset + length, file.length());
  for (let at = offset; at < end;) {
    at = file.nextData(at, end);
    const count = Math.min(bytes.length, end - at);
    if (count <= 0) return;
    file.read(bytes, 0, count, at);
    if (!isZero(bytes, 0, count)) yield { offset: at, length: count };
    at += count;
  }
}

function write(file: HostFile, bytes: Uint8Array, position: number, length = bytes.length): void {
  file.write(bytes, 0, length, position);
}
