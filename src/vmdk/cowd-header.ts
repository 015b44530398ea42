/**
 * The header of a COWD extent, ESX's sparse format for deltas (createType `vmfsSparse`): 2048
 * bytes at the start of the file, `COWDisk_Header` of VMware's "Virtual Disk Format 5.0". A grain
 * directory follows. Grain tables are made where the file's free space begins, when they are first
 * needed: a directory entry of 0 is a table that does not exist yet. Entries are 32-bit sector
 * numbers in both. The file is longer than what it holds, so `freeSector` is where it grows.
 */
import { isPowerOfTwo } from '../binary/alignment.js';
import { bytes, struct, u32, viewOf } from '../binary/struct.js';
import type { DiskGeometry } from './disk-geometry.js';
import { directoryBytes, ENTRY_BYTES, tableCount, type Geometry } from './layout.js';
import { GRAIN_SECTORS_MAX, GRAIN_SECTORS_MIN, SECTOR_BYTES } from './limits.js';
import { VmdkError } from './vmdk-error.js';

/** Offsets and sizes are in sectors. The parent's name and generation share their place with `CowdRoot`. */
export const CowdHeader = struct('CowdHeader', 2048, {
  magicNumber: u32,
  version: u32,
  flags: u32,
  numSectors: u32,
  grainSize: u32,
  gdOffset: u32,
  numGDEntries: u32,
  freeSector: u32,
  parentFileName: bytes(1024),
  parentGeneration: u32,
  generation: u32,
  name: bytes(60),
  description: bytes(512),
  savedGeneration: u32,
  reserved: bytes(8),
  uncleanShutdown: u32,
  padding: bytes(396),
});

/** What a disk without a parent has at `CowdHeader.parentFileName`. */
export const CowdRoot = struct('CowdRoot', 12, { cylinders: u32, heads: u32, sectors: u32 });

/** `COWD` in the file. */
export const COWD_MAGICNUMBER = 0x44574f43;

/** Entries of every COWD grain table. */
export const COWD_TABLE_ENTRIES = 4096;

/** Largest COWD extent, in sectors: its size is a 32-bit field. */
export const COWD_SECTORS_MAX = 2 ** 32 - 1;

const COWD_VERSION = 1;

/** What every writer has in `flags`; the meaning of the bits is not documented. */
const COWD_FLAGS = 3;

/** Where VMware puts the grain directory, in sectors: behind the header. */
const COWD_GD_SECTOR = 4;

/** A parent's name has at least this many bytes; cylinders have fewer before their first NUL. */
const PARENT_NAME_BYTES_MIN = 4;

/** What a header says; sizes and offsets in bytes, checked as far as a header alone allows. */
export interface CowdExtentHeader extends Geometry {
  readonly version: number;
  /** As found. */
  readonly flags: number;
  readonly gdOffset: number;
  /** Number of grain tables that the capacity needs, and of the directory entries that count. */
  readonly tableCount: number;
  /** Bytes of the directory on disk as the header has it, which may be more than are needed. */
  readonly directoryBytes: number;
  /** Where the next grain or table goes, as found: it may lie anywhere, also outside the file. */
  readonly freeOffset: number;
  readonly isUnclean: boolean;
  /**
   * One character for each byte; undefined where the extent has no parent. For messages: the
   * descriptor says who the parent is.
   */
  readonly parentFileName: string | undefined;
}

/**
 * Decodes and checks the first 2048 bytes of `file`.
 *
 * @throws VmdkError that names the field, what it holds and what is expected
 */
export function decodeCowdHeader(header: Uint8Array, file: string): CowdExtentHeader {
  const view = viewOf(header);
  checkIdentity(view, file);
  const geometry = decodeGeometry(view, file);
  const entries = CowdHeader.numGDEntries.get(view, 0);
  const gdOffset = CowdHeader.gdOffset.get(view, 0) * SECTOR_BYTES;
  if (gdOffset === 0) {
    throw new VmdkError('VMDK_BAD_DIRECTORY', file, 'the grain directory is at offset 0');
  }
  const needed = tableCount(geometry);
  if (entries < needed) {
    throw new VmdkError(
      'VMDK_BAD_DIRECTORY',
      file,
      `the grain directory has ${entries} entries (at least ${needed} expected); the image may be corrupt`,
    );
  }
  return {
    version: CowdHeader.version.get(view, 0),
    flags: CowdHeader.flags.get(view, 0),
    ...geometry,
    gdOffset,
    tableCount: needed,
    directoryBytes: Math.ceil((entries * ENTRY_BYTES) / SECTOR_BYTES) * SECTOR_BYTES,
    freeOffset: CowdHeader.freeSector.get(view, 0) * SECTOR_BYTES,
    isUnclean: CowdHeader.uncleanShutdown.get(view, 0) !== 0,
    parentFileName: decodeParentFileName(header),
  };
}

function checkIdentity(view: DataView, file: string): void {
  if (CowdHeader.magicNumber.get(view, 0) !== COWD_MAGICNUMBER) {
    throw new VmdkError('VMDK_NOT_VMDK', file, 'not a COWD extent (no COWD magic)');
  }
  const version = CowdHeader.version.get(view, 0);
  if (version === COWD_VERSION) return;
  throw new VmdkError(
    'VMDK_BAD_VERSION',
    file,
    `COWD version ${version} is not known (${COWD_VERSION} expected)`,
  );
}

function decodeGeometry(view: DataView, file: string): Geometry {
  const capacity = CowdHeader.numSectors.get(view, 0);
  const grainSize = CowdHeader.grainSize.get(view, 0);
  if (capacity === 0) {
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      file,
      `capacity 0 sectors is out of range (1 to ${COWD_SECTORS_MAX} expected)`,
    );
  }
  if (!isPowerOfTwo(grainSize) || grainSize > GRAIN_SECTORS_MAX) {
    throw new VmdkError(
      'VMDK_BAD_GRAIN_SIZE',
      file,
      `grain size ${grainSize} sectors is not a power of two from ${GRAIN_SECTORS_MIN} to ${GRAIN_SECTORS_MAX}; the image may be corrupt`,
    );
  }
  return {
    capacity: capacity * SECTOR_BYTES,
    grainBytes: grainSize * SECTOR_BYTES,
    tableEntries: COWD_TABLE_ENTRIES,
  };
}

function decodeParentFileName(header: Uint8Array): string | undefined {
  const { offset, size } = CowdHeader.parentFileName;
  const field = Buffer.from(header.subarray(offset, offset + size)).toString('latin1');
  const end = field.indexOf('\0');
  const name = end < 0 ? field : field.slice(0, end);
  return name.length < PARENT_NAME_BYTES_MIN ? undefined : name;
}

/** What a new extent is made of; sizes in bytes. */
export interface NewCowdExtent {
  readonly capacity: number;
  readonly grainBytes: number;
  /** The parent's file name in UTF-8, or where there is none the geometry of the disk. */
  readonly origin: { readonly parentFileName: Uint8Array } | { readonly geometry: DiskGeometry };
}

/** Offset in bytes of the directory of a new extent. */
const COWD_GD_OFFSET = COWD_GD_SECTOR * SECTOR_BYTES;

/** Length in bytes of a new extent: header and directory, all of whose entries are 0. */
export function newCowdBytes(capacity: number, grainBytes: number): number {
  const geometry = { capacity, grainBytes, tableEntries: COWD_TABLE_ENTRIES };
  return COWD_GD_OFFSET + directoryBytes(geometry);
}

/** The header of a new, empty extent. A parent's name that is too long is cut: see `parentFileName`. */
export function encodeCowdHeader(extent: NewCowdExtent): Uint8Array {
  const header = new Uint8Array(CowdHeader.byteLength);
  const view = viewOf(header);
  const { capacity, grainBytes, origin } = extent;
  const geometry = { capacity, grainBytes, tableEntries: COWD_TABLE_ENTRIES };
  CowdHeader.magicNumber.set(view, 0, COWD_MAGICNUMBER);
  CowdHeader.version.set(view, 0, COWD_VERSION);
  CowdHeader.flags.set(view, 0, COWD_FLAGS);
  CowdHeader.numSectors.set(view, 0, capacity / SECTOR_BYTES);
  CowdHeader.grainSize.set(view, 0, grainBytes / SECTOR_BYTES);
  CowdHeader.gdOffset.set(view, 0, COWD_GD_SECTOR);
  CowdHeader.numGDEntries.set(view, 0, tableCount(geometry));
  CowdHeader.freeSector.set(view, 0, newCowdBytes(capacity, grainBytes) / SECTOR_BYTES);
  const { offset, size } = CowdHeader.parentFileName;
  if ('parentFileName' in origin) {
    header.set(origin.parentFileName.subarray(0, size - 1), offset);
  } else {
    CowdRoot.cylinders.set(view, offset, origin.geometry.cylinders);
    CowdRoot.heads.set(view, offset, origin.geometry.heads);
    CowdRoot.sectors.set(view, offset, origin.geometry.sectors);
  }
  return header;
}
