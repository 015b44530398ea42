/**
 * What stands between and before the data of a streamOptimized extent (Virtual Disk Format 5.0,
 * "Stream-Optimized Compressed Sparse Extents"). Everything begins at a sector. A compressed grain
 * is led by its place on the disk and its length; any other marker has a length of 0, a type, and
 * fills a sector: a table, the directory or the footer follows it.
 */
import { struct, u32, u64, viewOf } from '../binary/struct.js';
import { directoryBytes, tableBytes, type Geometry } from './layout.js';
import { SECTOR_BYTES } from './limits.js';

/** Leads a compressed grain whose extent has markers; `lba` in sectors of the extent. */
const GrainMarker = struct('GrainMarker', 12, { lba: u64, size: u32 });

/** Leads a compressed grain of some extents without markers. */
const SizeMarker = struct('SizeMarker', 4, { size: u32 });

/** A marker that is no grain's; `value` is the sectors that follow. */
const Marker = struct('Marker', 16, { value: u64, size: u32, type: u32 });

const MARKER_EOS = 0;
const MARKER_GT = 1;
const MARKER_GD = 2;
const MARKER_FOOTER = 3;
/** Written by some programs between grains; nothing follows it. */
const MARKER_PROGRESS = 4;

/** Types of the markers of a new stream. */
export const StreamMarker = {
  EOS: MARKER_EOS,
  TABLE: 1,
  DIRECTORY: 2,
  FOOTER: MARKER_FOOTER,
} as const;

/** The directory's offset in a header that leaves it to the footer, in sectors. */
export const GD_AT_END = 2 ** 64 - 1;

/** Sectors that the end of a stream takes: footer marker, footer, end-of-stream marker. */
export const FOOTER_BYTES = 3 * SECTOR_BYTES;

/** Most bytes before the data of a grain, and the least that a grain takes. */
export const LEAD_BYTES_MAX = GrainMarker.byteLength;

/** What leads a compressed grain. */
export interface GrainLead {
  /** Offset on the extent in bytes; undefined where the extent has no markers. */
  readonly offset: number | undefined;
  /** Bytes before the data. */
  readonly length: number;
  /** Bytes of compressed data; undefined where nothing but the data says where it ends. */
  readonly size: number | undefined;
}

/**
 * Decodes what leads a grain, from its first bytes. Without markers there are two ways, for which
 * no writer is known: QEMU reads a bare zlib stream, others one behind its length.
 *
 * @param sizeMax bytes that compressed data takes at most
 */
export function decodeGrainLead(
  bytes: Uint8Array,
  hasMarkers: boolean,
  sizeMax: number,
): GrainLead {
  const view = viewOf(bytes);
  if (hasMarkers) {
    const offset = GrainMarker.lba.get(view, 0) * SECTOR_BYTES;
    return { offset, length: GrainMarker.byteLength, size: GrainMarker.size.get(view, 0) };
  }
  const size = SizeMarker.size.get(view, 0);
  const length = SizeMarker.byteLength;
  const hasSize = size <= sizeMax && isZlibHeader(view.getUint16(length, false));
  return hasSize ? { offset: undefined, length, size } : BARE;
}

const BARE: GrainLead = { offset: undefined, length: 0, size: undefined };

/** Whether a zlib stream may begin with these two bytes (RFC 1950: deflate, and a check by 31). */
function isZlibHeader(start: number): boolean {
  return ((start >> 8) & 0x0f) === 8 && start % 31 === 0;
}

/** What a sector of a stream with markers begins; bytes. */
export type StreamPart =
  | {
      readonly kind: 'grain';
      /** Where on the extent it belongs. */
      readonly offset: number;
      /** What it takes of the file, its lead included. */
      readonly length: number;
      /** Whether a zlib stream follows the lead. */
      readonly isZlib: boolean;
    }
  | { readonly kind: 'metadata'; readonly length: number };

/** Bytes of a part that `decodeStreamPart` looks at. */
export const PART_BYTES = SECTOR_BYTES;

/**
 * What a sector of a stream begins, as far as its bytes make sense; undefined where they do not, and
 * for zeros, which are the end of the stream.
 *
 * @param sizeMax bytes that compressed data takes at most
 */
export function decodeStreamPart(
  sector: Uint8Array,
  geometry: Geometry,
  sizeMax: number,
): StreamPart | undefined {
  const view = viewOf(sector);
  const size = GrainMarker.size.get(view, 0);
  if (size === 0) return decodeMetadata(sector, view, geometry);
  const sectors = view.getBigUint64(0, true);
  const offset = Number(sectors) * SECTOR_BYTES;
  if (size > sizeMax || offset >= geometry.capacity || offset % geometry.grainBytes !== 0) {
    return undefined;
  }
  const length = GrainMarker.byteLength + size;
  const isZlib = isZlibHeader(view.getUint16(GrainMarker.byteLength, false));
  return { kind: 'grain', offset, length, isZlib };
}

function decodeMetadata(
  sector: Uint8Array,
  view: DataView,
  geometry: Geometry,
): StreamPart | undefined {
  const value = view.getBigUint64(0, true);
  const following = lengthBehind(Marker.type.get(view, 0), geometry);
  const isPadded = sector.subarray(Marker.byteLength).every((byte) => byte === 0);
  if (following === undefined || !isPadded) return undefined;
  if (Number(value) * SECTOR_BYTES !== following) return undefined;
  return { kind: 'metadata', length: SECTOR_BYTES + following };
}

/** Bytes that follow a marker of `type`; undefined where there is no such marker. */
function lengthBehind(type: number, geometry: Geometry): number | undefined {
  switch (type) {
    case MARKER_GT:
      return tableBytes(geometry);
    case MARKER_GD:
      return directoryBytes(geometry);
    case MARKER_FOOTER:
      return SECTOR_BYTES;
    case MARKER_PROGRESS:
      return 0;
    default:
      return undefined;
  }
}

/** Whether a sector is the marker of a footer, which follows it. */
export function isFooterMarker(sector: Uint8Array): boolean {
  return isMarkerAt(viewOf(sector), 0, MARKER_FOOTER);
}

/** Whether a sector is the marker of a grain directory, and of one that is as large as `geometry` needs. */
export function isDirectoryMarker(sector: Uint8Array, geometry: Geometry): boolean {
  const view = viewOf(sector);
  const length = Number(view.getBigUint64(0, true)) * SECTOR_BYTES;
  return isMarkerAt(view, 0, MARKER_GD) && length === directoryBytes(geometry);
}

function isMarkerAt(view: DataView, at: number, type: number): boolean {
  return Marker.size.get(view, at) === 0 && Marker.type.get(view, at) === type;
}

/**
 * Where the markers of footers stand in `tail`, the last bytes of a stream in whole sectors, the last
 * first. Some programs leave bytes behind the end of the stream, and some leave its last sector out.
 */
export function* footersIn(tail: Uint8Array): Generator<number> {
  const view = viewOf(tail);
  for (let at = tail.length - 2 * SECTOR_BYTES; at >= 0; at -= SECTOR_BYTES) {
    if (isMarkerAt(view, at, MARKER_FOOTER)) yield at;
  }
}

/** Writes what leads a grain that begins at byte `offset` of the extent to `target` from `at` on. */
export function encodeGrainLead(
  target: Uint8Array,
  at: number,
  offset: number,
  size: number,
): void {
  const view = viewOf(target);
  GrainMarker.lba.set(view, at, offset / SECTOR_BYTES);
  GrainMarker.size.set(view, at, size);
}

/** A marker that is no grain's, a sector; `length` bytes follow, whole sectors. */
export function encodeMarker(
  type: (typeof StreamMarker)[keyof typeof StreamMarker],
  length: number,
): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = viewOf(sector);
  Marker.value.set(view, 0, length / SECTOR_BYTES);
  Marker.type.set(view, 0, type);
  return sector;
}
