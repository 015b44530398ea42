/**
 * Writing a streamOptimized extent in VMware's shape (Virtual Disk Format 5.0, "Stream-Optimized
 * Compressed Sparse Extents"): a header that leaves the directory to the footer, the descriptor,
 * grains in the order of the disk, each table behind its grains, the directory, the footer, the end.
 *
 * Every grain is whole, also the one that the end of the disk cuts off: 7-Zip and VirtualBox refuse
 * short ones. A table of nothing is not written, and its entry of the directory is 0.
 */
import { deflateSync } from 'node:zlib';
import { alignUp } from '../../binary/alignment.js';
import { bytesOf } from '../../binary/struct.js';
import { isZero } from '../../binary/zeros.js';
import { systemError } from '../../errno.js';
import { directoryBytes, tableBytes, type Geometry } from '../../vmdk/layout.js';
import { SECTOR_BYTES, SPARSE_FILE_BYTES_MAX } from '../../vmdk/limits.js';
import { DESCRIPTOR_SECTORS } from '../../vmdk/new-descriptor.js';
import { encodeStreamHeader } from '../../vmdk/sparse-extent-header.js';
import {
  encodeGrainLead,
  encodeMarker,
  LEAD_BYTES_MAX,
  StreamMarker,
} from '../../vmdk/stream-marker.js';
import type { BlockDevice } from '../block-device.js';
import { HostFile, type HostFileDescription } from '../host-file.js';
import { PIECE_BYTES, type ConversionState, type Piece } from './conversion-state.js';

/** VMware's grain, in bytes, and entries of a table. */
const GRAIN_BYTES = 64 * 1024;
const TABLE_ENTRIES = 512;

const DESCRIPTOR_BYTES = DESCRIPTOR_SECTORS * SECTOR_BYTES;

/** Effort of zlib, which is that of QEMU. */
const DEFLATE = { level: 6 };

/** A compressed grain with its lead, padded; zlib makes no more than this of one. */
const GRAIN_ROOM = GRAIN_BYTES + 2 * SECTOR_BYTES;

/** A stream that is being written, as it travels between threads. */
export interface StreamTargetDescription {
  readonly kind: 'stream';
  readonly file: HostFileDescription;
  /** Bytes of the disk. */
  readonly size: number;
  /** Sectors of tables, and of the grains of the table that is being filled. */
  readonly directory: SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
}

function geometryOf(size: number): Geometry {
  return { capacity: size, grainBytes: GRAIN_BYTES, tableEntries: TABLE_ENTRIES };
}

/**
 * Begins a stream for a disk of `size` bytes in an empty file.
 *
 * @throws ENAMETOOLONG where the descriptor needs more room than VMware leaves it
 */
export function beginStream(
  description: HostFileDescription,
  size: number,
  descriptor: Buffer,
  state: ConversionState,
): StreamTargetDescription {
  const file = new HostFile(description);
  if (descriptor.length > DESCRIPTOR_BYTES) {
    throw systemError('ENAMETOOLONG', `${file.path}: its names do not fit the descriptor`);
  }
  write(file, headerOf(size, undefined), 0);
  write(file, descriptor, SECTOR_BYTES);
  file.setLength(GRAIN_BYTES);
  state.streamEnd = GRAIN_BYTES;
  const words = (count: number): SharedArrayBuffer => new SharedArrayBuffer(count * 4);
  const directory = words(directoryBytes(geometryOf(size)) / 4);
  return { kind: 'stream', file: description, size, directory, table: words(TABLE_ENTRIES) };
}

function headerOf(size: number, gdOffset: number | undefined): Uint8Array {
  const layout = { descriptorBytes: DESCRIPTOR_BYTES, overHead: GRAIN_BYTES, gdOffset };
  return encodeStreamHeader(geometryOf(size), layout);
}

function write(file: HostFile, bytes: Uint8Array, position: number): void {
  file.write(bytes, 0, bytes.length, position);
}

/** One compressed grain in the buffer of its piece. */
interface PackedGrain {
  readonly grain: number;
  /** Where it begins in the buffer. */
  readonly at: number;
}

export class StreamTarget {
  readonly #file: HostFile;
  readonly #state: ConversionState;
  readonly #directory: Uint32Array;
  readonly #table: Uint32Array;
  readonly #bytes = Buffer.alloc(PIECE_BYTES);
  /** A table with its marker, and the grains of a piece. */
  readonly #packed: Buffer;
  readonly #tableRoom: number;

  constructor(description: StreamTargetDescription, state: ConversionState) {
    this.#file = new HostFile(description.file);
    this.#state = state;
    this.#directory = new Uint32Array(description.directory);
    this.#table = new Uint32Array(description.table);
    this.#tableRoom = SECTOR_BYTES + tableBytes(geometryOf(description.size));
    const grains = PIECE_BYTES / GRAIN_BYTES;
    this.#packed = Buffer.alloc(this.#tableRoom + grains * GRAIN_ROOM);
  }

  /** Appends a piece of `source`; waits until those before it are. */
  copy(source: BlockDevice, { end, start, ticket }: Piece): void {
    const length = end - start;
    source.read(this.#bytes, 0, length, start);
    this.#bytes.fill(0, length);
    const grains: PackedGrain[] = [];
    let packedEnd = this.#tableRoom;
    for (let at = 0; at < length; at += GRAIN_BYTES) {
      if (isZero(this.#bytes, at, GRAIN_BYTES)) continue;
      grains.push({ grain: (start + at) / GRAIN_BYTES, at: packedEnd });
      packedEnd = this.#pack(at, start + at, packedEnd);
    }
    this.#state.awaitTurn(ticket);
    const { first, position } = this.#place(grains, packedEnd);
    this.#state.passTurn();
    if (packedEnd > first) this.#file.write(this.#packed, first, packedEnd - first, position);
    this.#file.startWriteback(position, packedEnd - first);
  }

  /** Compresses the grain at `at` of the piece, which is `offset` on the disk; where it ends. */
  #pack(at: number, offset: number, packedAt: number): number {
    const data = deflateSync(this.#bytes.subarray(at, at + GRAIN_BYTES), DEFLATE);
    const length = LEAD_BYTES_MAX + data.length;
    const end = packedAt + alignUp(length, SECTOR_BYTES);
    encodeGrainLead(this.#packed, packedAt, offset, data.length);
    this.#packed.set(data, packedAt + LEAD_BYTES_MAX);
    this.#packed.fill(0, packedAt + length, end);
    return end;
  }

  /**
   * Gives the grains of a piece, which end at `packedEnd`, their places in the file and in the
   * table. Has the turn. A table that they are not of is complete, and goes before them.
   *
   * @returns from where on the buffer is to be written, and where to
   */
  #place(grains: readonly PackedGrain[], packedEnd: number): { first: number; position: number } {
    const state = this.#state;
    const [firstGrain] = grains;
    const position = state.streamEnd;
    if (firstGrain === undefined) return { first: packedEnd, position };
    const table = Math.floor(firstGrain.grain / TABLE_ENTRIES);
    const isNext = table !== state.streamTable;
    const complete = isNext ? completeTable(this.#table, this.#directory, state) : [];
    let first = this.#tableRoom;
    for (const part of complete.toReversed()) {
      first -= part.length;
      this.#packed.set(part, first);
    }
    state.streamTable = table;
    for (const { at, grain } of grains) {
      this.#table[grain % TABLE_ENTRIES] = (position + at - first) / SECTOR_BYTES;
    }
    state.streamEnd = position + packedEnd - first;
    assertAddressable(this.#file, state.streamEnd);
    return { first, position };
  }
}

/**
 * The table that was filled, behind its marker, to be written at the end of the stream; nothing
 * where it has no grain. The next table begins empty.
 */
function completeTable(
  table: Uint32Array,
  directory: Uint32Array,
  state: ConversionState,
): Uint8Array[] {
  if (table.every((sector) => sector === 0)) return [];
  const bytes = Uint8Array.from(bytesOf(table));
  table.fill(0);
  directory[state.streamTable] = state.streamEnd / SECTOR_BYTES + 1;
  return [encodeMarker(StreamMarker.TABLE, bytes.length), bytes];
}

/** A sector of a grain or a table has 32 bits. */
function assertAddressable(file: HostFile, end: number): void {
  if (end <= SPARSE_FILE_BYTES_MAX) return;
  throw systemError('EFBIG', `${file.path}: a streamOptimized image cannot grow past 2 TiB`);
}

/** Writes what stands behind the last grain. All pieces are written. */
export function finishStream(target: StreamTargetDescription, state: ConversionState): void {
  const { size } = target;
  const file = new HostFile(target.file);
  const directory = new Uint32Array(target.directory);
  const table = completeTable(new Uint32Array(target.table), directory, state);
  const tableLength = table.reduce((sum, { length }) => sum + length, 0);
  const gdOffset = state.streamEnd + tableLength + SECTOR_BYTES;
  const tail = [
    ...table,
    encodeMarker(StreamMarker.DIRECTORY, directory.byteLength),
    bytesOf(directory),
    encodeMarker(StreamMarker.FOOTER, SECTOR_BYTES),
    headerOf(size, gdOffset),
    encodeMarker(StreamMarker.EOS, 0),
  ];
  const bytes = Buffer.concat(tail);
  assertAddressable(file, state.streamEnd + bytes.length);
  write(file, bytes, state.streamEnd);
}
