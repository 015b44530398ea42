/**
 * What a sparse extent holds where: its grains' entries, seen together with what lies beneath. It
 * serves every extent that finds its grains through tables. Offsets are those of the extent.
 */
import { GTE_UNALLOCATED, GTE_ZEROED, isAllocated } from '../vmdk/grain-entry.js';
import type { Beneath } from './beneath.js';
import { NOT_RESIDENT, type GrainTables } from './grain-tables.js';
import type { LayerState } from './layer-state.js';

export class GrainMap {
  readonly #tables: GrainTables;
  readonly #beneath: Beneath;
  readonly #state: LayerState;
  readonly #grainBytes: number;

  constructor(tables: GrainTables, beneath: Beneath, state: LayerState, grainBytes: number) {
    this.#tables = tables;
    this.#beneath = beneath;
    this.#state = state;
    this.#grainBytes = grainBytes;
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

  /** The first offset in `[offset, limit)` that may hold data, or `limit`. */
  nextData(offset: number, limit: number): number {
    for (let at = offset; at < limit;) {
      const entry = this.#entryAt(at);
      if (isAllocated(entry)) return at;
      const end = this.#kindEnd(at, entry, limit);
      if (entry !== GTE_ZEROED) {
        const found = this.#beneath.nextData(at, end);
        if (found < end) return found;
      }
      at = end;
    }
    return limit;
  }

  /** The first offset in `[offset, limit)` that is known to be a hole, or `limit`. */
  nextHole(offset: number, limit: number): number {
    for (let at = offset; at < limit;) {
      const entry = this.#entryAt(at);
      const end = this.#kindEnd(at, entry, limit);
      if (entry === GTE_ZEROED) return at;
      if (!isAllocated(entry)) {
        const found = this.#beneath.nextHole(at, end);
        if (found < end) return found;
      }
      at = end;
    }
    return limit;
  }

  #entryAt(offset: number): number {
    return this.entry(Math.floor(offset / this.#grainBytes));
  }

  /** Where the grains of one kind end that begin with `entry` at `offset`; at most `limit`. */
  #kindEnd(offset: number, entry: number, limit: number): number {
    const grain = Math.floor(offset / this.#grainBytes);
    return Math.min(this.#tables.kindEnd(grain, entry) * this.#grainBytes, limit);
  }
}
