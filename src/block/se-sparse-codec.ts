/**
 * Tables and directories of a seSparse extent: entries of 64 bits on disk, of 32 in memory. A grain
 * with index i is entry i + 2 in memory, which is enough for 16 TiB of data in one delta.
 *
 * A grain that the guest unmapped and one that is zeroed are the same here; both read as zeros. So a
 * table is not replaced when it is written: the entries on disk that still mean the same stay as
 * they are, an unmapped one with the index of its old place.
 */
import { bytesOf } from '../binary/struct.js';
import {
  decodeDirectoryEntry,
  encodeDirectoryEntry,
  encodeGrainEntry,
  seSparseIndex,
  seSparseKind,
  SeSparseKind,
  type EntryWords,
} from '../vmdk/se-sparse-entry.js';
import { SESPARSE_TABLE_BYTES, type SeSparseHeader } from '../vmdk/se-sparse-header.js';
import { SESPARSE_ENTRY_BYTES } from '../vmdk/se-sparse-regions.js';
import { GTE_UNALLOCATED, GTE_ZEROED } from '../vmdk/grain-entry.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { HostFile } from './host-file.js';
import type { PlaceScale, TableCodec } from './table-codec.js';

/** The entry of place 0 in memory; lower ones have meanings of their own. */
const FIRST_PLACE = 2;

/** One table as it is on disk; one for each thread, whose pages are there from the start. */
const WIDE = new Uint32Array(SESPARSE_TABLE_BYTES / Uint32Array.BYTES_PER_ELEMENT).fill(0);

export class SeSparseCodec implements TableCodec {
  readonly grains: PlaceScale;
  readonly tables: PlaceScale;
  readonly tableStep = 1;
  readonly #tableEntries: number;
  readonly #tableBytes: number;

  constructor(header: SeSparseHeader) {
    this.grains = scaleOf(header.grains.offset, header.grainBytes);
    this.tables = scaleOf(header.tables.offset, header.tableBytes);
    this.#tableEntries = header.tableEntries;
    this.#tableBytes = header.tableBytes;
  }

  read(file: HostFile, words: Uint32Array, position: number): void {
    for (let first = 0, at = position; first < words.length; first += this.#tableEntries) {
      file.read(bytesOf(WIDE), 0, this.#tableBytes, at);
      for (let index = 0; index < this.#tableEntries; index++) {
        words[first + index] = decode(WIDE, index, file.path);
      }
      at += this.#tableBytes;
    }
  }

  readEntry(file: HostFile, position: number, index: number): number {
    file.read(bytesOf(WIDE), 0, SESPARSE_ENTRY_BYTES, position + index * SESPARSE_ENTRY_BYTES);
    return decode(WIDE, 0, file.path);
  }

  write(file: HostFile, words: Uint32Array, position: number): void {
    for (let first = 0, at = position; first < words.length; first += this.#tableEntries) {
      file.read(bytesOf(WIDE), 0, this.#tableBytes, at);
      for (let index = 0; index < this.#tableEntries; index++) {
        const entry = words[first + index] ?? GTE_UNALLOCATED;
        if (!isSame(WIDE, index, entry)) put(WIDE, index, encode(entry));
      }
      file.write(bytesOf(WIDE), 0, this.#tableBytes, at);
      at += this.#tableBytes;
    }
  }

  writeDirectory(file: HostFile, entries: Uint32Array, position: number, first: number): void {
    const wide = new Uint32Array(2 * entries.length);
    entries.forEach((entry, index) => {
      if (entry >= FIRST_PLACE) put(wide, index, encodeDirectoryEntry(entry - FIRST_PLACE));
    });
    file.write(bytesOf(wide), 0, wide.byteLength, position + first * SESPARSE_ENTRY_BYTES);
  }
}

/**
 * A directory as it is in memory, from its bytes on disk.
 *
 * @throws VmdkError for an entry of no known kind
 */
export function decodeSeSparseDirectory(wide: Uint32Array, path: string): Uint32Array {
  return Uint32Array.from({ length: wide.length / 2 }, (_, index) => {
    const table = decodeDirectoryEntry(wide[2 * index] ?? 0, wide[2 * index + 1] ?? 0, path);
    return table === undefined ? GTE_UNALLOCATED : toEntry(table, path);
  });
}

function scaleOf(offset: number, unit: number): PlaceScale {
  return { origin: offset - FIRST_PLACE * unit, unit };
}

function decode(wide: Uint32Array, index: number, path: string): number {
  const low = wide[2 * index] ?? 0;
  const high = wide[2 * index + 1] ?? 0;
  if ((low | high) === 0) return GTE_UNALLOCATED;
  if (seSparseKind(low, high, path) !== SeSparseKind.ALLOCATED) return GTE_ZEROED;
  return toEntry(seSparseIndex(low, high, path), path);
}

function toEntry(index: number, path: string): number {
  if (index + FIRST_PLACE < 2 ** 32) return index + FIRST_PLACE;
  throw new VmdkError(
    'VMDK_UNSUPPORTED',
    path,
    `a seSparse entry has the index ${index}, above what is supported (${2 ** 32 - FIRST_PLACE}); the image may be corrupt`,
  );
}

/** Whether an entry on disk, which need not make sense, means what `entry` does. */
function isSame(wide: Uint32Array, index: number, entry: number): boolean {
  const high = wide[2 * index + 1] ?? 0;
  const kind = high >>> 28;
  if (entry === GTE_ZEROED) return kind === SeSparseKind.UNMAPPED || kind === SeSparseKind.ZEROED;
  const [low, wanted] = encode(entry);
  return wide[2 * index] === low && high === wanted;
}

function encode(entry: number): EntryWords {
  if (entry === GTE_UNALLOCATED) return [0, 0];
  if (entry === GTE_ZEROED) return encodeGrainEntry(SeSparseKind.ZEROED, 0);
  return encodeGrainEntry(SeSparseKind.ALLOCATED, entry - FIRST_PLACE);
}

function put(wide: Uint32Array, index: number, [low, high]: EntryWords): void {
  wide[2 * index] = low;
  wide[2 * index + 1] = high;
}
