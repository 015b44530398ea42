/**
 * What a sparse extent holds where: its grains' entries, seen together with what lies beneath. It
 * serves every extent that finds its grains through tables. Offsets are those of the extent.
 *
 * Allocated grains that are not compressed have holes where the file has them: what was punched, and
 * what was never written around the bytes of a new grain. The host knows them.
 */
import { alignDown } from '../binary/alignment.js';
import { GTE_UNALLOCATED, GTE_ZEROED, isAllocated } from '../vmdk/grain-entry.js';
import type { Beneath } from './beneath.js';
import { holdingIn, type Holding } from './extent.js';
import { NOT_RESIDENT, type GrainTables } from './grain-tables.js';
import type { HostFile } from './host-file.js';
import type { LayerState } from './layer-state.js';
import { placeOf, type PlaceScale } from './table-codec.js';

/** Where the bytes of grains are: for grains that are in the file as they are. */
export interface GrainFile {
  readonly file: HostFile;
  readonly scale: PlaceScale;
}

export class GrainMap {
  readonly #tables: GrainTables;
  readonly #beneath: Beneath;
  readonly #state: LayerState;
  readonly #grainBytes: number;
  readonly #source: GrainFile | undefined;

  /** @param source undefined where grains are compressed */
  constructor(
    tables: GrainTables,
    beneath: Beneath,
    state: LayerState,
    grainBytes: number,
    source?: GrainFile,
  ) {
    this.#tables = tables;
    this.#beneath = beneath;
    this.#state = state;
    this.#grainBytes = grainBytes;
    this.#source = source;
  }

  /** The entry of a grain; of an unused table without loading it. */
  entry(grain: number): number {
    const tables = this.#tables;
    const entry = tables.lookup(grain);
    if (entry !== NOT_RESIDENT) return entry;
    if (tables.isUnused(Math.floor(grain / tables.tableEntries))) return GTE_UNALLOCATED;
    this.#state.mutex.lock();
    try {
      return tables.makeResident(grain) ? tables.lookup(grain) : tables.readEntry(grain);
    } finally {
      this.#state.mutex.unlock();
    }
  }

  /** Whether any grain of the range is allocated or zeroed, so that what lies beneath is covered. */
  holds(offset: number, length: number): boolean {
    const limit = offset + length;
    for (let at = offset; at < limit; at = this.#kindEnd(at, GTE_UNALLOCATED, limit)) {
      if (this.#entryAt(at) !== GTE_UNALLOCATED) return true;
    }
    return false;
  }

  /** What is held at `offset`, as far as it is of one kind; see `Extent.holding`. */
  holding(offset: number, limit: number): Holding {
    const entry = this.#entryAt(offset);
    const end = this.#runEnd(offset, entry, limit);
    if (entry === GTE_UNALLOCATED) return { kind: 'nothing', end };
    if (entry === GTE_ZEROED) return { kind: 'zero', end };
    if (this.#source === undefined) return { kind: 'data', end, isCompressed: true };
    const { file, scale } = this.#source;
    const shift = placeOf(scale, entry) - alignDown(offset, this.#grainBytes);
    return holdingIn(file, offset + shift, end + shift, shift);
  }

  /** The first offset in `[offset, limit)` that may hold data, or `limit`. */
  nextData(offset: number, limit: number): number {
    for (let at = offset; at < limit;) {
      const entry = this.#entryAt(at);
      const end = this.#runEnd(at, entry, limit);
      let found = end;
      if (isAllocated(entry)) {
        found = this.#inFile(at, entry, end, (file, from, to) => file.nextData(from, to)) ?? at;
      } else if (entry !== GTE_ZEROED) {
        found = this.#beneath.nextData(at, end);
      }
      if (found < end) return found;
      at = end;
    }
    return limit;
  }

  /** The first offset in `[offset, limit)` that is known to be a hole, or `limit`. */
  nextHole(offset: number, limit: number): number {
    for (let at = offset; at < limit;) {
      const entry = this.#entryAt(at);
      if (entry === GTE_ZEROED) return at;
      const end = this.#runEnd(at, entry, limit);
      const found = isAllocated(entry)
        ? (this.#inFile(at, entry, end, (file, from, to) => file.nextHole(from, to)) ?? end)
        : this.#beneath.nextHole(at, end);
      if (found < end) return found;
      at = end;
    }
    return limit;
  }

  /** Asks the file about grains that lie in it one behind the other; undefined where it cannot know. */
  #inFile(
    at: number,
    entry: number,
    end: number,
    find: (file: HostFile, from: number, to: number) => number,
  ): number | undefined {
    if (this.#source === undefined) return undefined;
    const { file, scale } = this.#source;
    const shift = placeOf(scale, entry) - alignDown(at, this.#grainBytes);
    return find(file, at + shift, end + shift) - shift;
  }

  #entryAt(offset: number): number {
    return this.entry(Math.floor(offset / this.#grainBytes));
  }

  /** Where the grains end that are of one kind with that at `offset`; at most `limit`. */
  #kindEnd(offset: number, entry: number, limit: number): number {
    const grain = Math.floor(offset / this.#grainBytes);
    const limitGrain = Math.ceil(limit / this.#grainBytes);
    return Math.min(this.#tables.kindEnd(grain, entry, limitGrain) * this.#grainBytes, limit);
  }

  /** The same; grains in the file end where the next one is not right behind. */
  #runEnd(offset: number, entry: number, limit: number): number {
    const end = this.#kindEnd(offset, entry, limit);
    if (this.#source === undefined || !isAllocated(entry)) return end;
    const step = this.#grainBytes / this.#source.scale.unit;
    const first = Math.floor(offset / this.#grainBytes);
    let grain = first + 1;
    while (
      grain * this.#grainBytes < end &&
      this.#tables.lookup(grain) === entry + (grain - first) * step
    ) {
      grain += 1;
    }
    return Math.min(end, grain * this.#grainBytes);
  }
}
