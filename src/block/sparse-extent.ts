/**
 * An extent of grains that are found through tables: hosted sparse, COWD or seSparse. How tables
 * stand on disk and where new grains go is the business of its parts.
 *
 * A read resolves grain by grain and joins neighbours: grains that follow one another in the file
 * are one read, grains that hold nothing are one read of what lies beneath. A write does the same
 * for grains that are allocated, without a lock, and hands the others to `NewGrains`. Grains never
 * move while the image is open, so a place once resolved stays good.
 *
 * What the header has to say while the extent is written to (uncleanShutdown) is written before the
 * first change and taken back at a clean end. An extent that was not closed is checked when it is
 * opened for writing, so that is true again then; a table that only one directory leads to gets its
 * place in the other with the first change, and reaches the disk as any new table does.
 */
import { GTE_ZEROED, isAllocated } from '../vmdk/grain-entry.js';
import { newAllocationRecord, type AllocationRecordDescription } from './allocation-record.js';
import { Beneath } from './beneath.js';
import type { BlockDevice } from './block-device.js';
import type { Extent, Holding } from './extent.js';
import { FreeGrains, type FreeGrainsDescription } from './free-grains.js';
import { GrainAllocator, type GrainAllocatorDescription } from './grain-allocator.js';
import { GrainBounds, type GrainBoundsDescription } from './grain-bounds.js';
import { GrainMap } from './grain-map.js';
import { GrainTables, NOT_RESIDENT, type GrainTablesDescription } from './grain-tables.js';
import { HostFile, type HostFileDescription } from './host-file.js';
import type { LayerState } from './layer-state.js';
import { NewGrains } from './new-grains.js';
import { WriteFlags, type SparseParts } from './sparse-parts.js';
import { newTableCodec, placeOf, type TableCodecDescription } from './table-codec.js';
import { TableWriter } from './table-writer.js';

/** Bytes for a place of the header. */
export interface HeaderWrite {
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** A sparse extent as it travels between threads; bytes. */
export interface SparseExtentDescription {
  readonly kind: 'sparse';
  readonly start: number;
  readonly size: number;
  readonly file: HostFileDescription;
  /** Length of the file when it was opened. */
  readonly fileLength: number;
  readonly grainBytes: number;
  readonly bounds: GrainBoundsDescription;
  readonly codec: TableCodecDescription;
  readonly tables: GrainTablesDescription;
  readonly allocator: GrainAllocatorDescription;
  readonly record: AllocationRecordDescription;
  /** Grains that can be taken when the file can grow no more. */
  readonly free?: FreeGrainsDescription;
  /** Whether space that the allocator gives was never written before. */
  readonly isSpaceFresh: boolean;
  readonly flags: SharedArrayBuffer;
  /** Where the directories lie in the file; as in the tables. */
  readonly directoryOffsets: readonly number[];
  /** Whether GTE_ZEROED may be written. */
  readonly hasZeroedGrains: boolean;
  /** What to write before the first change of the extent, and when it is closed after one. */
  /** Whether nothing of it is written by this program. */
  readonly readOnly: boolean;
  readonly firstWrites: readonly HeaderWrite[];
  readonly lastWrites: readonly HeaderWrite[];
  /** Tables that only one of the directories leads to; they are completed with the first change. */
  readonly loneTables?: Uint32Array;
}

const ZEROS = new Uint8Array(1024 * 1024);

const NO_TABLES = new Uint32Array(0);

export class SparseExtent implements Extent {
  readonly start: number;
  readonly size: number;
  readonly #parts: SparseParts;
  readonly #map: GrainMap;
  readonly #newGrains: NewGrains;
  readonly #writer: TableWriter;
  readonly #fileLength: number;
  readonly #hasZeroedGrains: boolean;
  readonly #firstWrites: readonly HeaderWrite[];
  readonly #lastWrites: readonly HeaderWrite[];
  readonly #loneTables: Uint32Array;

  /** @param flushLayer flushes the layer; called without its mutex */
  constructor(
    description: SparseExtentDescription,
    parent: BlockDevice | undefined,
    state: LayerState,
    flushLayer: () => void,
  ) {
    const file = new HostFile(description.file);
    const codec = newTableCodec(description.codec);
    const { free } = description;
    const allocator: GrainAllocator = new GrainAllocator(
      description.allocator,
      free === undefined
        ? undefined
        : new FreeGrains(file, free, (grain) => this.#placeOfGrain(grain)),
    );
    // Only where this program does not write may new grains be another's.
    const bounds = new GrainBounds(
      description.bounds,
      () => allocator.end,
      description.readOnly ? () => file.length() : undefined,
    );
    this.start = description.start;
    this.size = description.size;
    this.#parts = {
      size: description.size,
      grainBytes: description.grainBytes,
      file,
      codec,
      tables: new GrainTables(
        description.tables,
        file,
        codec,
        bounds,
        state.counters,
        description.readOnly,
      ),
      allocator,
      record: newAllocationRecord(description.record, file, allocator, state),
      isSpaceFresh: description.isSpaceFresh,
      beneath: new Beneath(parent, description.start),
      state,
      flags: new WriteFlags(description.flags),
    };
    const { beneath, grainBytes, tables } = this.#parts;
    this.#map = new GrainMap(tables, beneath, state, grainBytes, { file, scale: codec.grains });
    this.#newGrains = new NewGrains(this.#parts, flushLayer);
    this.#writer = new TableWriter(this.#parts, description.directoryOffsets);
    this.#fileLength = description.fileLength;
    this.#hasZeroedGrains = description.hasZeroedGrains;
    this.#firstWrites = description.firstWrites;
    this.#lastWrites = description.lastWrites;
    this.#loneTables = description.loneTables ?? NO_TABLES;
    if (this.#loneTables.length === 0) this.#parts.flags.markTablesCompleted();
  }

  get isDirty(): boolean {
    return this.#parts.flags.isDirty();
  }

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    const { beneath, file, grainBytes } = this.#parts;
    for (let done = 0; done < length;) {
      const at = offset + done;
      const grain = Math.floor(at / grainBytes);
      const entry = this.#map.entry(grain);
      const count = this.#runLength(grain, entry, at, length - done);
      if (isAllocated(entry)) {
        const place = this.#place(grain, entry, at);
        file.read(target, targetOffset + done, count, place);
      } else if (entry === GTE_ZEROED) {
        target.fill(0, targetOffset + done, targetOffset + done + count);
      } else {
        beneath.read(target, targetOffset + done, count, at);
      }
      done += count;
    }
  }

  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void {
    this.#begin();
    for (let done = 0; done < length;) {
      const at = offset + done;
      const entry = this.#map.entry(Math.floor(at / this.#parts.grainBytes));
      done += isAllocated(entry)
        ? this.#overwrite(source, sourceOffset + done, length - done, at, entry)
        : this.#newGrains.write(source, sourceOffset + done, length - done, at);
    }
  }

  /**
   * Grains that are allocated stay so, and get a hole in the file: nothing in the tables changes, so
   * a crash can only leave old bytes or zeros. What shows through from beneath is covered by a
   * zeroed entry where that is allowed, by zeros otherwise.
   */
  zero(offset: number, length: number): void {
    const { grainBytes } = this.#parts;
    const end = offset + length;
    for (let at = this.nextData(offset, end); at < end; at = this.nextData(at, end)) {
      const grain = Math.floor(at / grainBytes);
      const entry = this.#map.entry(grain);
      if (isAllocated(entry)) {
        at += this.#punch(end - at, at, entry);
        continue;
      }
      const grainEnd = Math.min((grain + 1) * grainBytes, this.size);
      const count = Math.min(end, grainEnd) - at;
      const isWhole = at + count === grainEnd && offset <= grain * grainBytes;
      if (isWhole && this.#hasZeroedGrains) {
        this.#begin();
        this.#newGrains.zeroWhole(grain);
      } else {
        this.write(ZEROS, 0, count, at);
      }
      at += count;
    }
  }

  /** Zeroes at most `length` bytes from `at` on that are allocated; returns how many. */
  #punch(length: number, at: number, entry: number): number {
    const { file, flags, grainBytes, state } = this.#parts;
    const grain = Math.floor(at / grainBytes);
    const count = this.#runLength(grain, entry, at, length);
    const place = this.#place(grain, entry, at);
    this.#begin();
    flags.markData();
    try {
      if (state.punch(file, place, count)) return count;
    } finally {
      flags.markData();
    }
    const written = Math.min(count, ZEROS.length);
    this.write(ZEROS, 0, written, at);
    return written;
  }

  flush(): void {
    this.#writer.flush();
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

  /** Never more than the file: what was zeroed may be a hole in it. */
  allocatedBytes(): number {
    const { allocator, file, grainBytes } = this.#parts;
    return Math.min(allocator.allocatedGrains * grainBytes, file.allocatedBytes());
  }

  finish(): void {
    const { file, flags, state } = this.#parts;
    if (!flags.isUnclean()) return;
    this.#completeLastGrain();
    this.#cutGivenBack();
    // What a crash left is still there.
    if (!flags.areTablesCompleted()) return;
    writeAll(file, this.#lastWrites);
    state.barrier(file);
  }

  /** The last grain may end short of its size, which is legal; other programs like it whole. */
  #completeLastGrain(): void {
    const { allocator, file } = this.#parts;
    const end = allocator.publishedEnd;
    if (end === 0 || file.length() >= end) return;
    try {
      file.write(ZEROS, 0, 1, end - 1);
    } catch {
      // A full host: everything is durable without it.
    }
  }

  /**
   * Takes from the end of the file what writes that failed have left there. Nobody writes any more,
   * and nothing leads there, so it does not matter what a crash makes of it.
   */
  #cutGivenBack(): void {
    const { allocator, file } = this.#parts;
    if (!allocator.hasGivenBack) return;
    const end = Math.max(this.#fileLength, allocator.usedEnd);
    try {
      if (file.length() > end) file.setLength(end);
    } catch {
      // It stays longer than it has to be.
    }
  }

  close(): void {
    this.#parts.file.close();
  }

  /** Bytes from `at` on, at most `length`, that one operation can serve; `entry` is the first's. */
  #runLength(grain: number, entry: number, at: number, length: number): number {
    const { codec, grainBytes } = this.#parts;
    const step = isAllocated(entry) ? grainBytes / codec.grains.unit : 0;
    let next = grain + 1;
    let expected = entry + step;
    while (next * grainBytes - at < length && this.#map.entry(next) === expected) {
      next += 1;
      expected += step;
    }
    return Math.min(length, next * grainBytes - at);
  }

  #overwrite(
    source: Uint8Array,
    sourceOffset: number,
    length: number,
    at: number,
    entry: number,
  ): number {
    const { file, flags, grainBytes } = this.#parts;
    const grain = Math.floor(at / grainBytes);
    const count = this.#runLength(grain, entry, at, length);
    flags.markData();
    try {
      file.write(source, sourceOffset, count, this.#place(grain, entry, at));
    } finally {
      flags.markData();
    }
    return count;
  }

  /** Where `grain` is in the file, or -1. Mutex held. */
  #placeOfGrain(grain: number): number {
    const { codec, grainBytes, size, tables } = this.#parts;
    if (grain * grainBytes >= size) return -1;
    const seen = tables.lookup(grain);
    const entry = seen === NOT_RESIDENT ? tables.readEntry(grain) : seen;
    return isAllocated(entry) ? placeOf(codec.grains, entry) : -1;
  }

  /** The byte of the file that holds byte `at`, which lies in `grain`, whose entry is `entry`. */
  #place(grain: number, entry: number, at: number): number {
    const { codec, grainBytes } = this.#parts;
    return placeOf(codec.grains, entry) + (at - grain * grainBytes);
  }

  /** Before each change; only the first one has anything to do. */
  #begin(): void {
    const { flags } = this.#parts;
    if (flags.isUnclean() && flags.areTablesCompleted()) return;
    this.#markUnclean();
    // Where it fails, so does the write; the next one tries again.
    for (const table of this.#loneTables) this.#newGrains.completeTable(table);
    flags.markTablesCompleted();
  }

  #markUnclean(): void {
    const { file, flags, state } = this.#parts;
    if (flags.isUnclean()) return;
    state.mutex.lock();
    try {
      if (flags.isUnclean()) return;
      flags.markData();
      writeAll(file, this.#firstWrites);
      flags.markData();
      flags.markUnclean();
    } finally {
      state.mutex.unlock();
    }
  }
}

/** Makes all `writes`, without a barrier. */
export function writeAll(file: HostFile, writes: readonly HeaderWrite[]): void {
  for (const { bytes, position } of writes) file.write(bytes, 0, bytes.length, position);
}
