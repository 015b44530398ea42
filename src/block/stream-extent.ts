/**
 * A streamOptimized extent: grains are compressed, one behind the other, and cannot be changed in
 * place. It is only read.
 *
 * A read inflates each grain it touches, in the thread that serves it, so as many grains are
 * inflated at a time as there are threads. What a request takes whole is handed over and forgotten,
 * the kernel keeps it; a grain of which it takes a part is kept for the next request, in a cache that
 * all threads share. A grain that does not inflate to its size fails those who read it, and nobody else.
 */
import { systemError } from '../errno.js';
import { GTE_ZEROED, isAllocated } from '../vmdk/grain-entry.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { Beneath } from './beneath.js';
import type { BlockDevice } from './block-device.js';
import { CompressedGrains } from './compressed-grains.js';
import type { Extent, Holding } from './extent.js';
import { GrainBounds, type GrainBoundsDescription } from './grain-bounds.js';
import { GrainCache, type GrainCacheDescription } from './grain-cache.js';
import { GrainMap } from './grain-map.js';
import { GrainTables, type GrainTablesDescription } from './grain-tables.js';
import { HostFile, type HostFileDescription } from './host-file.js';
import type { LayerCounters } from './layer-counters.js';
import type { LayerState } from './layer-state.js';
import { newTableCodec, placeOf, SECTOR_SCALE } from './table-codec.js';

/** A stream extent as it travels between threads; bytes. */
export interface StreamExtentDescription {
  readonly kind: 'stream';
  readonly start: number;
  readonly size: number;
  readonly file: HostFileDescription;
  readonly fileLength: number;
  readonly grainBytes: number;
  /** Bytes that the last grain has to inflate to at least; the others are whole. */
  readonly lastGrainBytes: number;
  /** Whether what leads a grain says where it belongs. */
  readonly hasMarkers: boolean;
  /** Grains in use. */
  readonly allocated: number;
  readonly bounds: GrainBoundsDescription;
  readonly tables: GrainTablesDescription;
  /** Shared with the other stream extents of the image, in which this one is `id`. */
  readonly cache: GrainCacheDescription;
  readonly id: number;
}

export class StreamExtent implements Extent {
  readonly start: number;
  readonly size: number;
  readonly isDirty = false;
  readonly #description: StreamExtentDescription;
  readonly #file: HostFile;
  readonly #map: GrainMap;
  readonly #beneath: Beneath;
  readonly #cache: GrainCache;
  readonly #grains: CompressedGrains;
  readonly #counters: LayerCounters;

  constructor(
    description: StreamExtentDescription,
    parent: BlockDevice | undefined,
    state: LayerState,
  ) {
    const { bounds, fileLength, grainBytes, tables } = description;
    this.start = description.start;
    this.size = description.size;
    this.#description = description;
    this.#file = new HostFile(description.file);
    this.#beneath = new Beneath(parent, description.start);
    this.#cache = new GrainCache(description.cache);
    this.#grains = new CompressedGrains(this.#file, {
      ...description,
      grainCount: bounds.grainCount,
    });
    this.#counters = state.counters;
    const codec = newTableCodec({ kind: 'sectors', tableEntries: tables.tableEntries });
    const checked = new GrainBounds(bounds, () => fileLength);
    const grainTables = new GrainTables(tables, this.#file, codec, checked, state.counters);
    this.#map = new GrainMap(grainTables, this.#beneath, state, grainBytes);
  }

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    const { grainBytes } = this.#description;
    for (let done = 0; done < length;) {
      const at = offset + done;
      const grain = Math.floor(at / grainBytes);
      const entry = this.#map.entry(grain);
      const count = Math.min(length - done, (grain + 1) * grainBytes - at);
      const to = targetOffset + done;
      if (isAllocated(entry)) this.#readGrain(target, to, count, at, entry);
      else if (entry === GTE_ZEROED) target.fill(0, to, to + count);
      else this.#beneath.read(target, to, count, at);
      done += count;
    }
  }

  /** Copies `length` bytes at `at`, inside the allocated grain of `entry`, to `target`. */
  #readGrain(
    target: Uint8Array,
    targetOffset: number,
    length: number,
    at: number,
    entry: number,
  ): void {
    const { grainBytes, id } = this.#description;
    const grain = Math.floor(at / grainBytes);
    const from = at - grain * grainBytes;
    if (this.#cache.read(id, grain, from, target, targetOffset, length)) {
      this.#counters.add('cacheHits');
      return;
    }
    this.#counters.add('cacheMisses');
    const place = placeOf(SECTOR_SCALE, entry);
    const bytes = this.#grains.inflate(grain, place, this.#likelyBytes(grain, place));
    const end = Math.min(from + length, bytes.length);
    if (end > from) target.set(bytes.subarray(from, end), targetOffset);
    // Behind a last grain that is stored short.
    const there = Math.max(0, end - from);
    target.fill(0, targetOffset + there, targetOffset + length);
    if (length < grainBytes && bytes.length === grainBytes) this.#cache.keep(id, grain, bytes);
  }

  /** As far as the next grain, which most writers put behind this one; a grain's size if not. */
  #likelyBytes(grain: number, place: number): number {
    const { bounds, grainBytes, tables } = this.#description;
    const most = Math.max(grainBytes, SECTOR_BYTES);
    const next = grain + 1;
    // The next table is not loaded for a guess.
    if (next % tables.tableEntries === 0 || next === bounds.grainCount) return most;
    const entry = this.#map.entry(next);
    const gap = isAllocated(entry) ? placeOf(SECTOR_SCALE, entry) - place : 0;
    return gap > 0 ? Math.min(gap, most) : most;
  }

  write(): never {
    throw this.#refusal();
  }

  zero(): never {
    throw this.#refusal();
  }

  #refusal(): NodeJS.ErrnoException {
    return systemError('EROFS', `${this.#file.path}: compressed grains cannot be changed in place`);
  }

  holds(offset: number, length: number): boolean {
    return this.#map.holds(offset, length);
  }

  holding(offset: number, limit: number): Holding {
    return this.#map.holding(offset, limit);
  }

  nextData(offset: number, limit: number): number {
    return this.#map.nextData(offset, limit);
  }

  nextHole(offset: number, limit: number): number {
    return this.#map.nextHole(offset, limit);
  }

  /** What a copy takes up: programs compare it with the size to see whether there are holes. */
  allocatedBytes(): number {
    return this.#description.allocated * this.#description.grainBytes;
  }

  flush(): void {
    // Nothing is ever written.
  }

  finish(): void {
    // Nothing was written.
  }

  close(): void {
    this.#file.close();
  }
}
