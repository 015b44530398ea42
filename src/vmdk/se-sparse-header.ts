/**
 * The headers of a seSparse extent, ESXi's format for deltas of large disks: a constant header in
 * the first sector, which says where the regions of the file lie, and a volatile header that
 * changes as tables are made. VMware has not published the format; the fields are those that QEMU
 * names (block/vmdk.c), the rest was seen in images that ESXi wrote. As QEMU does, anything that
 * those images do not have is refused.
 */
import { bytes, struct, u64, viewOf, type NumberField } from '../binary/struct.js';
import type { Geometry } from './layout.js';
import { DIRECTORY_ENTRIES_MAX, SECTOR_BYTES } from './limits.js';
import {
  checkRegions,
  newRegions,
  SESPARSE_ENTRY_BYTES,
  type Region,
  type SeSparseRegions,
} from './se-sparse-regions.js';
import { VmdkError } from './vmdk-error.js';

/** Offsets and sizes are in sectors. */
export const SeSparseConstHeader = struct('SeSparseConstHeader', 512, {
  magic: u64,
  version: u64,
  capacity: u64,
  grainSize: u64,
  grainTableSize: u64,
  flags: u64,
  reserved1: u64,
  reserved2: u64,
  reserved3: u64,
  reserved4: u64,
  volatileHeaderOffset: u64,
  volatileHeaderSize: u64,
  journalHeaderOffset: u64,
  journalHeaderSize: u64,
  journalOffset: u64,
  journalSize: u64,
  grainDirOffset: u64,
  grainDirSize: u64,
  grainTablesOffset: u64,
  grainTablesSize: u64,
  freeBitmapOffset: u64,
  freeBitmapSize: u64,
  backMapOffset: u64,
  backMapSize: u64,
  grainsOffset: u64,
  grainsSize: u64,
  pad: bytes(304),
});

export const SeSparseVolatileHeader = struct('SeSparseVolatileHeader', 512, {
  magic: u64,
  freeGTNumber: u64,
  nextTxnSeqNumber: u64,
  replayJournal: u64,
  pad: bytes(480),
});

/** The start of a journal header; what follows is only of interest to a replay. */
const SeSparseJournalHeader = struct('SeSparseJournalHeader', 24, {
  magic: u64,
  txnSeqNumber: u64,
  unknown: u64,
});

/** The first eight bytes of the file: `be ba fe ca 00 00 00 00`. */
export const SESPARSE_CONST_HEADER_MAGIC = 0xcafebabe;

const SESPARSE_VOLATILE_HEADER_MAGIC = 0xcafecafe;

const SESPARSE_JOURNAL_HEADER_MAGIC = 0xdeafc0de;

/** Version 2.1: major in the high word, minor in the low one. */
const SESPARSE_VERSION = 0x2_0000_0001;

const SESPARSE_GRAIN_SECTORS = 8;
const SESPARSE_TABLE_SECTORS = 64;

/** Bytes of a grain. */
const SESPARSE_GRAIN_BYTES = SESPARSE_GRAIN_SECTORS * SECTOR_BYTES;

/** Bytes of a grain table, which leads to 16 MiB. */
export const SESPARSE_TABLE_BYTES = SESPARSE_TABLE_SECTORS * SECTOR_BYTES;

/** Entries of a grain table. */
const SESPARSE_TABLE_ENTRIES = SESPARSE_TABLE_BYTES / SESPARSE_ENTRY_BYTES;

/** Largest extent, in bytes: 64 TiB, which is VMware's 62 TiB and a margin. */
export const SESPARSE_BYTES_MAX =
  DIRECTORY_ENTRIES_MAX * SESPARSE_TABLE_ENTRIES * SESPARSE_GRAIN_BYTES;

/** What a constant header says; sizes and offsets in bytes. */
export interface SeSparseHeader extends Geometry, Omit<SeSparseRegions, 'volatileHeader'> {
  /** Size of a grain table. */
  readonly tableBytes: number;
  readonly volatileOffset: number;
}

/** What a volatile header says. */
export interface SeSparseVolatile {
  /** Number of the next grain table to be made, as found: it may lie outside the region. */
  readonly freeTableNumber: number;
  /** Whether changes wait in the journal: what the other regions say is out of date then. */
  readonly replayJournal: boolean;
}

/**
 * Decodes and checks the constant header, the first sector of `file`.
 *
 * @throws VmdkError that names the field, what it holds and what is expected
 */
export function decodeSeSparseHeader(sector: Uint8Array, file: string): SeSparseHeader {
  const view = viewOf(sector);
  const header = SeSparseConstHeader;
  checkIdentity(view, file);
  const geometry = decodeGeometry(view, file);
  checkUnused(sector, file);
  const regions: SeSparseRegions = {
    volatileHeader: regionOf(view, header.volatileHeaderOffset, header.volatileHeaderSize),
    journalHeader: regionOf(view, header.journalHeaderOffset, header.journalHeaderSize),
    journal: regionOf(view, header.journalOffset, header.journalSize),
    directory: regionOf(view, header.grainDirOffset, header.grainDirSize),
    tables: regionOf(view, header.grainTablesOffset, header.grainTablesSize),
    freeBitmap: regionOf(view, header.freeBitmapOffset, header.freeBitmapSize),
    backMap: regionOf(view, header.backMapOffset, header.backMapSize),
    grains: regionOf(view, header.grainsOffset, header.grainsSize),
  };
  checkRegions(geometry, regions, file);
  const { volatileHeader, ...others } = regions;
  return {
    ...geometry,
    tableBytes: SESPARSE_TABLE_BYTES,
    volatileOffset: volatileHeader.offset,
    ...others,
  };
}

function checkIdentity(view: DataView, file: string): void {
  if (SeSparseConstHeader.magic.get(view, 0) !== SESPARSE_CONST_HEADER_MAGIC) {
    throw new VmdkError('VMDK_NOT_VMDK', file, 'not a seSparse extent (no cafebabe magic)');
  }
  const version = SeSparseConstHeader.version.get(view, 0);
  if (version !== SESPARSE_VERSION) {
    throw new VmdkError(
      'VMDK_BAD_VERSION',
      file,
      `seSparse version 0x${version.toString(16)} is not known (0x${SESPARSE_VERSION.toString(16)} expected)`,
    );
  }
  const flags = SeSparseConstHeader.flags.get(view, 0);
  if (flags === 0) return;
  throw new VmdkError(
    'VMDK_BAD_FLAGS',
    file,
    `header flags 0x${flags.toString(16)} are not known (0 expected)`,
  );
}

function decodeGeometry(view: DataView, file: string): Geometry {
  const capacity = SeSparseConstHeader.capacity.get(view, 0);
  const grainSize = SeSparseConstHeader.grainSize.get(view, 0);
  const tableSize = SeSparseConstHeader.grainTableSize.get(view, 0);
  const sectorsMax = SESPARSE_BYTES_MAX / SECTOR_BYTES;
  if (capacity === 0 || capacity > sectorsMax) {
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      file,
      `capacity ${capacity} sectors is out of range (1 to ${sectorsMax} expected)`,
    );
  }
  if (grainSize !== SESPARSE_GRAIN_SECTORS) {
    throw new VmdkError(
      'VMDK_BAD_GRAIN_SIZE',
      file,
      `grain size ${grainSize} sectors is not known (${SESPARSE_GRAIN_SECTORS} expected)`,
    );
  }
  if (tableSize !== SESPARSE_TABLE_SECTORS) {
    throw new VmdkError(
      'VMDK_BAD_TABLE_SIZE',
      file,
      `grain tables of ${tableSize} sectors are not known (${SESPARSE_TABLE_SECTORS} expected)`,
    );
  }
  return {
    capacity: capacity * SECTOR_BYTES,
    grainBytes: SESPARSE_GRAIN_BYTES,
    tableEntries: SESPARSE_TABLE_ENTRIES,
  };
}

/** The reserved fields and the end of the sector: what uses them would not be understood. */
function checkUnused(sector: Uint8Array, file: string): void {
  const { reserved1, volatileHeaderOffset, pad } = SeSparseConstHeader;
  assertZero(sector, reserved1.offset, volatileHeaderOffset.offset - reserved1.offset, file);
  assertZero(sector, pad.offset, pad.size, file);
}

function assertZero(sector: Uint8Array, offset: number, length: number, file: string): void {
  const index = sector.subarray(offset, offset + length).findIndex((byte) => byte !== 0);
  if (index < 0) return;
  throw new VmdkError(
    'VMDK_UNSUPPORTED',
    file,
    `byte ${offset + index} of the seSparse header is ${sector[offset + index] ?? 0}, and its meaning is not known (0 expected)`,
  );
}

function regionOf(view: DataView, offset: NumberField, size: NumberField): Region {
  return {
    offset: offset.get(view, 0) * SECTOR_BYTES,
    length: size.get(view, 0) * SECTOR_BYTES,
  };
}

/**
 * Decodes and checks the volatile header of `file`, a sector.
 *
 * @throws VmdkError for a wrong magic, and for anything in bytes that are zero in known images
 */
export function decodeVolatileHeader(sector: Uint8Array, file: string): SeSparseVolatile {
  const view = viewOf(sector);
  const { magic, freeGTNumber, replayJournal, pad } = SeSparseVolatileHeader;
  const found = magic.get(view, 0);
  if (found !== SESPARSE_VOLATILE_HEADER_MAGIC) {
    throw new VmdkError(
      'VMDK_BAD_DIRECTORY',
      file,
      `the volatile header begins with 0x${found.toString(16)} (0x${SESPARSE_VOLATILE_HEADER_MAGIC.toString(16)} expected); the image may be corrupt`,
    );
  }
  assertZero(sector, pad.offset, pad.size, file);
  return {
    freeTableNumber: freeGTNumber.get(view, 0),
    replayJournal: replayJournal.get(view, 0) !== 0,
  };
}

/** Lays out a new extent as ESXi does; `capacity` in bytes, whole sectors. */
export function newSeSparseHeader(capacity: number): SeSparseHeader {
  const geometry: Geometry = {
    capacity,
    grainBytes: SESPARSE_GRAIN_BYTES,
    tableEntries: SESPARSE_TABLE_ENTRIES,
  };
  const { volatileHeader, ...regions } = newRegions(geometry);
  return {
    ...geometry,
    tableBytes: SESPARSE_TABLE_BYTES,
    volatileOffset: volatileHeader.offset,
    ...regions,
  };
}

/** The first sector of a file that is laid out as `header` says. */
export function encodeSeSparseHeader(header: SeSparseHeader): Uint8Array {
  const sector = new Uint8Array(SeSparseConstHeader.byteLength);
  const view = viewOf(sector);
  const fields = SeSparseConstHeader;
  fields.magic.set(view, 0, SESPARSE_CONST_HEADER_MAGIC);
  fields.version.set(view, 0, SESPARSE_VERSION);
  fields.capacity.set(view, 0, header.capacity / SECTOR_BYTES);
  fields.grainSize.set(view, 0, header.grainBytes / SECTOR_BYTES);
  fields.grainTableSize.set(view, 0, header.tableBytes / SECTOR_BYTES);
  const put = (offset: NumberField, size: NumberField, region: Region): void => {
    offset.set(view, 0, region.offset / SECTOR_BYTES);
    size.set(view, 0, region.length / SECTOR_BYTES);
  };
  const volatileHeader = { offset: header.volatileOffset, length: SECTOR_BYTES };
  put(fields.volatileHeaderOffset, fields.volatileHeaderSize, volatileHeader);
  put(fields.journalHeaderOffset, fields.journalHeaderSize, header.journalHeader);
  put(fields.journalOffset, fields.journalSize, header.journal);
  put(fields.grainDirOffset, fields.grainDirSize, header.directory);
  put(fields.grainTablesOffset, fields.grainTablesSize, header.tables);
  put(fields.freeBitmapOffset, fields.freeBitmapSize, header.freeBitmap);
  put(fields.backMapOffset, fields.backMapSize, header.backMap);
  put(fields.grainsOffset, fields.grainsSize, header.grains);
  return sector;
}

/** The number of the next transaction in a new file: any, as long as both headers have the same. */
const FIRST_TRANSACTION = 1;

/** The volatile header of a new extent, a sector: no tables, nothing in the journal. */
export function newVolatileHeader(): Uint8Array {
  const sector = new Uint8Array(SeSparseVolatileHeader.byteLength);
  const view = viewOf(sector);
  SeSparseVolatileHeader.magic.set(view, 0, SESPARSE_VOLATILE_HEADER_MAGIC);
  SeSparseVolatileHeader.nextTxnSeqNumber.set(view, 0, FIRST_TRANSACTION);
  return sector;
}

/** The journal header of a new extent: an empty journal. */
export function newJournalHeader(): Uint8Array {
  const start = new Uint8Array(SeSparseJournalHeader.byteLength);
  const view = viewOf(start);
  SeSparseJournalHeader.magic.set(view, 0, SESPARSE_JOURNAL_HEADER_MAGIC);
  SeSparseJournalHeader.txnSeqNumber.set(view, 0, FIRST_TRANSACTION);
  SeSparseJournalHeader.unknown.set(view, 0, 1);
  return start;
}
