/**
 * How the tables and directories of a sparse extent stand on disk. In memory every entry of either
 * is a u32: 0 and 1 have meanings of their own, anything else is a place in the file, counted in
 * units from an origin. What differs between the subformats is here and in `se-sparse-codec.ts`.
 */
import { bytesOf } from '../binary/struct.js';
import { ENTRY_BYTES } from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import type { SeSparseHeader } from '../vmdk/se-sparse-header.js';
import type { HostFile } from './host-file.js';
import { SeSparseCodec } from './se-sparse-codec.js';

/** Entry e stands for byte `origin + e * unit` of the file. */
export interface PlaceScale {
  readonly origin: number;
  readonly unit: number;
}

/** Entries that are sectors: all but those of seSparse. */
export const SECTOR_SCALE: PlaceScale = { origin: 0, unit: SECTOR_BYTES };

/** The byte of the file that `entry` stands for. */
export function placeOf(scale: PlaceScale, entry: number): number {
  return scale.origin + entry * scale.unit;
}

/** The entry that stands for byte `place` of the file. */
export function entryFor(scale: PlaceScale, place: number): number {
  return (place - scale.origin) / scale.unit;
}

/** Which codec an extent has, as it travels between threads. */
export type TableCodecDescription =
  | { readonly kind: 'sectors'; readonly tableEntries: number }
  | { readonly kind: 'seSparse'; readonly header: SeSparseHeader };

export interface TableCodec {
  /** Where grains lie, by their entries. */
  readonly grains: PlaceScale;
  /** Where tables lie, by their directory entries. */
  readonly tables: PlaceScale;
  /** What a directory entry grows by from one table to another right behind it. */
  readonly tableStep: number;

  /** Fills `words`, a table's entries or those of several that lie one behind the other. */
  read(file: HostFile, words: Uint32Array, position: number): void;

  /** Entry `index` of the table at `position`. */
  readEntry(file: HostFile, position: number, index: number): number;

  /** Writes `words`, a table's entries or those of several that lie one behind the other. */
  write(file: HostFile, words: Uint32Array, position: number): void;

  /** Writes directory entries, the first of them entry `first` of the directory at `position`. */
  writeDirectory(file: HostFile, entries: Uint32Array, position: number, first: number): void;
}

/** The codec of an extent; for one thread. */
export function newTableCodec(description: TableCodecDescription): TableCodec {
  return description.kind === 'sectors'
    ? new SectorCodec(description.tableEntries)
    : new SeSparseCodec(description.header);
}

/** Tables and directories of little-endian u32 sectors, on disk as they are in memory. */
class SectorCodec implements TableCodec {
  readonly grains = SECTOR_SCALE;
  readonly tables = SECTOR_SCALE;
  readonly tableStep: number;
  readonly #single = new Uint32Array(1);

  constructor(tableEntries: number) {
    this.tableStep = (tableEntries * ENTRY_BYTES) / SECTOR_BYTES;
  }

  read(file: HostFile, words: Uint32Array, position: number): void {
    file.read(bytesOf(words), 0, words.byteLength, position);
  }

  readEntry(file: HostFile, position: number, index: number): number {
    this.read(file, this.#single, position + index * ENTRY_BYTES);
    return this.#single[0] ?? 0;
  }

  write(file: HostFile, words: Uint32Array, position: number): void {
    file.write(bytesOf(words), 0, words.byteLength, position);
  }

  writeDirectory(file: HostFile, entries: Uint32Array, position: number, first: number): void {
    this.write(file, entries, position + first * ENTRY_BYTES);
  }
}
