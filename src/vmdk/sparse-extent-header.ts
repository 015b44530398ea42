/**
 * The header of a hosted sparse extent: 512 bytes at the start of the file, `SparseExtentHeader`
 * of VMware's "Virtual Disk Format 5.0". Decoding checks every field that stands on its own; what
 * needs the length of the file or the descriptor is checked where the extent is opened.
 */
import { isPowerOfTwo } from '../binary/alignment.js';
import { bytes, struct, u16, u32, u64, u8, viewOf } from '../binary/struct.js';
import {
  CAPACITY_SECTORS_MAX,
  DESCRIPTOR_BYTES_MAX,
  GRAIN_SECTORS_MAX,
  GRAIN_SECTORS_MIN,
  SECTOR_BYTES,
  TABLE_ENTRIES_MAX,
  TABLE_ENTRIES_MIN,
} from './limits.js';
import type { Geometry, SparseLayout } from './layout.js';
import { GD_AT_END } from './stream-marker.js';
import { VmdkError } from './vmdk-error.js';

/** Offsets and sizes are in sectors. */
export const SparseExtentHeader = struct('SparseExtentHeader', 512, {
  magicNumber: u32,
  version: u32,
  flags: u32,
  capacity: u64,
  grainSize: u64,
  descriptorOffset: u64,
  descriptorSize: u64,
  numGTEsPerGT: u32,
  rgdOffset: u64,
  gdOffset: u64,
  overHead: u64,
  uncleanShutdown: u8,
  singleEndLineChar: u8,
  nonEndLineChar: u8,
  doubleEndLineChar1: u8,
  doubleEndLineChar2: u8,
  compressAlgorithm: u16,
  pad: bytes(433),
});

/** `KDMV` in the file. */
export const SPARSE_MAGICNUMBER = 0x564d444b;

/** `kdmv`: open-vmdk marks a file that is still being written with the magic in lower case. */
export const SPARSE_MAGICNUMBER_INCOMPLETE = 0x766d646b;

const SPARSEFLAG_VALID_NEWLINE_DETECTOR = 1 << 0;
const SPARSEFLAG_USE_REDUNDANT = 1 << 1;
const SPARSEFLAG_ZEROED_GRAIN = 1 << 2;
const SPARSEFLAG_COMPRESSED = 1 << 16;
const SPARSEFLAG_EMBEDDED_LBA = 1 << 17;

/** Flag bits in this half may not be ignored by a reader that does not know them (open-vmdk). */
const SPARSEFLAG_INCOMPATIBLE_MASK = 0xffff0000;
const SPARSEFLAG_KNOWN =
  SPARSEFLAG_VALID_NEWLINE_DETECTOR |
  SPARSEFLAG_USE_REDUNDANT |
  SPARSEFLAG_ZEROED_GRAIN |
  SPARSEFLAG_COMPRESSED |
  SPARSEFLAG_EMBEDDED_LBA;

const COMPRESSION_DEFLATE = 1;

/** Newest header version: 3 is written by streamOptimized and by change tracking. */
const SPARSE_VERSION_MAX = 3;

/** The newline test: bytes 73 to 76 change when a file went through a text-mode transfer. */
const NEWLINES = [0x0a, 0x20, 0x0d, 0x0a];

/** What a header says; sizes and offsets in bytes, checked as far as a header alone allows. */
export interface SparseHeader extends Geometry {
  readonly version: number;
  readonly flags: number;
  /** Zero where the extent has no descriptor of its own. */
  readonly descriptorOffset: number;
  readonly descriptorBytes: number;
  readonly gdOffset: number;
  readonly rgdOffset: number;
  readonly overHead: number;
  readonly uncleanShutdown: boolean;
  /** Whether grains are zlib streams, led by what `stream-marker.ts` describes. */
  readonly isCompressed: boolean;
  /** Whether what leads a compressed grain says where on the disk it belongs. */
  readonly hasMarkers: boolean;
  /** Whether the directory's place is in the footer at the end of the file only. */
  readonly isDirectoryAtEnd: boolean;
  /** Whether GTE_ZEROED may be written. */
  readonly hasZeroedGrains: boolean;
  readonly hasRedundant: boolean;
  /** Compatible flags that we do not know: such an extent may be read, but not written. */
  readonly unknownFlags: number;
}

/**
 * Decodes and checks the first sector of `file`.
 *
 * @throws VmdkError that names the field, what it holds and what is expected
 */
export function decodeSparseHeader(sector: Uint8Array, file: string): SparseHeader {
  const view = viewOf(sector);
  const flags = SparseExtentHeader.flags.get(view, 0);
  const version = SparseExtentHeader.version.get(view, 0);
  checkIdentity(view, file);
  checkFlags(view, flags, file);
  const isCompressed = (flags & SPARSEFLAG_COMPRESSED) !== 0;
  if (isCompressed) checkCompression(view, file);
  return {
    version,
    flags,
    ...decodeGeometry(view, file),
    ...decodeDescriptorArea(view, file),
    gdOffset: SparseExtentHeader.gdOffset.get(view, 0) * SECTOR_BYTES,
    rgdOffset: SparseExtentHeader.rgdOffset.get(view, 0) * SECTOR_BYTES,
    overHead: SparseExtentHeader.overHead.get(view, 0) * SECTOR_BYTES,
    uncleanShutdown: SparseExtentHeader.uncleanShutdown.get(view, 0) !== 0,
    isCompressed,
    hasMarkers: (flags & SPARSEFLAG_EMBEDDED_LBA) !== 0,
    isDirectoryAtEnd: SparseExtentHeader.gdOffset.get(view, 0) === GD_AT_END,
    hasZeroedGrains: version >= 2 && (flags & SPARSEFLAG_ZEROED_GRAIN) !== 0,
    hasRedundant: (flags & SPARSEFLAG_USE_REDUNDANT) !== 0,
    unknownFlags: flags & ~SPARSEFLAG_KNOWN,
  };
}

function checkIdentity(view: DataView, file: string): void {
  const magic = SparseExtentHeader.magicNumber.get(view, 0);
  if (magic === SPARSE_MAGICNUMBER_INCOMPLETE) {
    throw new VmdkError(
      'VMDK_INCOMPLETE',
      file,
      'the file is marked as still being written; let its writer finish, or make the image again',
    );
  }
  if (magic !== SPARSE_MAGICNUMBER) {
    throw new VmdkError('VMDK_NOT_VMDK', file, 'not a sparse VMDK extent (no KDMV magic)');
  }
  const version = SparseExtentHeader.version.get(view, 0);
  if (version < 1 || version > SPARSE_VERSION_MAX) {
    throw new VmdkError(
      'VMDK_BAD_VERSION',
      file,
      `header version ${version} is not known (1 to ${SPARSE_VERSION_MAX} expected)`,
    );
  }
}

function checkFlags(view: DataView, flags: number, file: string): void {
  const unknown = (flags & SPARSEFLAG_INCOMPATIBLE_MASK & ~SPARSEFLAG_KNOWN) >>> 0;
  if (unknown !== 0) {
    throw new VmdkError(
      'VMDK_BAD_FLAGS',
      file,
      `header flags 0x${flags.toString(16)} ask for features that are not known (0x${unknown.toString(16)})`,
    );
  }
  if ((flags & SPARSEFLAG_VALID_NEWLINE_DETECTOR) === 0) return;
  const first = SparseExtentHeader.singleEndLineChar.offset;
  const found = NEWLINES.map((_, index) => view.getUint8(first + index));
  // Some writers set the flag and leave the bytes out; no transfer makes zeros of them.
  if (found.every((byte) => byte === 0)) return;
  if (found.some((byte, index) => byte !== NEWLINES[index])) {
    throw new VmdkError(
      'VMDK_BAD_NEWLINES',
      file,
      `the newline test bytes are ${hex(found)} (${hex(NEWLINES)} expected); the file was damaged by a text-mode transfer, copy it again as binary`,
    );
  }
}

function checkCompression(view: DataView, file: string): void {
  const algorithm = SparseExtentHeader.compressAlgorithm.get(view, 0);
  if (algorithm === COMPRESSION_DEFLATE) return;
  throw new VmdkError(
    'VMDK_UNSUPPORTED',
    file,
    `its grains are compressed in a way that is not known (${algorithm}; ${COMPRESSION_DEFLATE}, deflate, expected)`,
  );
}

function decodeGeometry(view: DataView, file: string): Geometry {
  const capacity = SparseExtentHeader.capacity.get(view, 0);
  const grainSize = SparseExtentHeader.grainSize.get(view, 0);
  const tableEntries = SparseExtentHeader.numGTEsPerGT.get(view, 0);
  if (capacity > CAPACITY_SECTORS_MAX) {
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      file,
      `capacity ${capacity} sectors is out of range (at most ${CAPACITY_SECTORS_MAX})`,
    );
  }
  if (!isPowerOfTwo(grainSize) || grainSize < GRAIN_SECTORS_MIN || grainSize > GRAIN_SECTORS_MAX) {
    throw new VmdkError(
      'VMDK_BAD_GRAIN_SIZE',
      file,
      `grain size ${grainSize} sectors is not a power of two from ${GRAIN_SECTORS_MIN} to ${GRAIN_SECTORS_MAX}; the image may be corrupt`,
    );
  }
  if (
    !isPowerOfTwo(tableEntries) ||
    tableEntries < TABLE_ENTRIES_MIN ||
    tableEntries > TABLE_ENTRIES_MAX
  ) {
    throw new VmdkError(
      'VMDK_BAD_TABLE_SIZE',
      file,
      `${tableEntries} entries in a grain table is not a power of two from ${TABLE_ENTRIES_MIN} to ${TABLE_ENTRIES_MAX}; the image may be corrupt`,
    );
  }
  return {
    capacity: capacity * SECTOR_BYTES,
    grainBytes: grainSize * SECTOR_BYTES,
    tableEntries,
  };
}

function decodeDescriptorArea(
  view: DataView,
  file: string,
): { descriptorOffset: number; descriptorBytes: number } {
  const offset = SparseExtentHeader.descriptorOffset.get(view, 0) * SECTOR_BYTES;
  if (offset === 0) return { descriptorOffset: 0, descriptorBytes: 0 };
  const size = SparseExtentHeader.descriptorSize.get(view, 0) * SECTOR_BYTES;
  if (size === 0 || size > DESCRIPTOR_BYTES_MAX) {
    throw new VmdkError(
      'VMDK_BAD_DESCRIPTOR',
      file,
      `the embedded descriptor is ${size} bytes long (1 to ${DESCRIPTOR_BYTES_MAX} expected)`,
    );
  }
  return { descriptorOffset: offset, descriptorBytes: size };
}

/** The header of a new, empty extent, as VMware writes it: version 1, redundant tables in use. */
export function encodeSparseHeader(geometry: Geometry, layout: SparseLayout): Uint8Array {
  const sector = new Uint8Array(SparseExtentHeader.byteLength);
  const view = viewOf(sector);
  const header = SparseExtentHeader;
  header.magicNumber.set(view, 0, SPARSE_MAGICNUMBER);
  header.version.set(view, 0, 1);
  header.flags.set(view, 0, SPARSEFLAG_VALID_NEWLINE_DETECTOR | SPARSEFLAG_USE_REDUNDANT);
  header.capacity.set(view, 0, geometry.capacity / SECTOR_BYTES);
  header.grainSize.set(view, 0, geometry.grainBytes / SECTOR_BYTES);
  header.descriptorOffset.set(view, 0, layout.descriptorOffset / SECTOR_BYTES);
  header.descriptorSize.set(view, 0, layout.descriptorBytes / SECTOR_BYTES);
  header.numGTEsPerGT.set(view, 0, geometry.tableEntries);
  header.rgdOffset.set(view, 0, layout.rgdOffset / SECTOR_BYTES);
  header.gdOffset.set(view, 0, layout.gdOffset / SECTOR_BYTES);
  header.overHead.set(view, 0, layout.overHead / SECTOR_BYTES);
  NEWLINES.forEach((byte, index) => {
    view.setUint8(header.singleEndLineChar.offset + index, byte);
  });
  return sector;
}

/** Where the parts of a stream lie, in bytes. */
export interface StreamLayout {
  /** The descriptor follows the header. */
  readonly descriptorBytes: number;
  /** Where the first grain may begin. */
  readonly overHead: number;
  /** Undefined in the header at the front: the directory is not written yet, the footer has it. */
  readonly gdOffset: number | undefined;
}

/** The header of a streamOptimized extent, or its footer, as VMware's ovftool writes them. */
export function encodeStreamHeader(geometry: Geometry, layout: StreamLayout): Uint8Array {
  const { descriptorBytes, gdOffset = 0, overHead } = layout;
  const sector = encodeSparseHeader(geometry, {
    descriptorOffset: SECTOR_BYTES,
    descriptorBytes,
    rgdOffset: 0,
    gdOffset,
    overHead,
  });
  const view = viewOf(sector);
  const header = SparseExtentHeader;
  const flags = SPARSEFLAG_VALID_NEWLINE_DETECTOR | SPARSEFLAG_COMPRESSED | SPARSEFLAG_EMBEDDED_LBA;
  header.version.set(view, 0, SPARSE_VERSION_MAX);
  header.flags.set(view, 0, flags);
  header.compressAlgorithm.set(view, 0, COMPRESSION_DEFLATE);
  // Not a number that a field of 64 bits takes: every bit is set.
  if (layout.gdOffset === undefined)
    sector.fill(0xff, header.gdOffset.offset, header.overHead.offset);
  return sector;
}

function hex(values: readonly number[]): string {
  return values.map((value) => value.toString(16).padStart(2, '0')).join(' ');
}
