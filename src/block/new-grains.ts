/**
 * Writing where a sparse extent holds nothing yet. A request is turned into runs of new grains;
 * each run gets one stretch of the file and one write of the user's bytes. Where they do not cover
 * the first or the last grain of the run, what lies beneath (the parent, never anything for a
 * zeroed grain) is written around them, not over them. Zeros around them need no write where the
 * stretch was never written before. Entries enter the tables only after all of these writes have returned.
 *
 * Bytes that would change nothing, zeros over a hole, allocate nothing.
 *
 * The layer's mutex is held from the look at the entries to the last `set`, so two writers to the
 * same new grain follow one another, and the second finds it allocated.
 */
import { alignDown } from '../binary/alignment.js';
import { isZero } from '../binary/zeros.js';
import { GTE_UNALLOCATED, GTE_ZEROED, isAllocated } from '../vmdk/grain-entry.js';
import type { AllocationMark } from './grain-allocator.js';
import type { SparseParts } from './sparse-parts.js';
import { entryFor } from './table-codec.js';

/** What lies beneath a part of a grain, on its way around the user's bytes; one for each thread. */
const FILL = new Uint8Array(1024 * 1024);

export class NewGrains {
  readonly #parts: SparseParts;
  readonly #makeRoom: () => void;

  /** @param makeRoom flushes, so that a slot can be given to another table; mutex not held */
  constructor(parts: SparseParts, makeRoom: () => void) {
    this.#parts = parts;
    this.#makeRoom = makeRoom;
  }

  /**
   * Writes the beginning of a request whose first grain was seen unallocated.
   *
   * @returns how many bytes are done; 0 where another thread allocated the grain first
   */
  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): number {
    const { grainBytes, tables } = this.#parts;
    const grain = Math.floor(offset / grainBytes);
    const end = this.#lockTable(grain, offset + length);
    try {
      if (isAllocated(tables.lookup(grain))) return 0;
      const nothing = this.#skip(source, sourceOffset, offset, end);
      if (nothing > 0) return nothing;
      const runEnd = this.#roomEnd(offset, this.#runEnd(source, sourceOffset, offset, end));
      this.#allocate(source, sourceOffset, offset, runEnd);
      return runEnd - offset;
    } finally {
      this.#parts.state.mutex.unlock();
    }
  }

  /** Makes a whole grain read as zeros by its entry alone; the header allows it. */
  zeroWhole(grain: number): void {
    const { allocator, tables, grainBytes } = this.#parts;
    this.#lockTable(grain, (grain + 1) * grainBytes);
    try {
      this.#ensureTable(grain);
      if (isAllocated(tables.lookup(grain))) allocator.leaveGrain();
      tables.set(grain, GTE_ZEROED);
    } finally {
      this.#parts.state.mutex.unlock();
    }
  }

  /** Gives `table` a place in every directory that leads to none. */
  completeTable(table: number): void {
    const { grainBytes, state, tables } = this.#parts;
    const grain = table * tables.tableEntries;
    this.#lockTable(grain, (grain + 1) * grainBytes);
    try {
      this.#ensureTable(grain);
    } finally {
      state.mutex.unlock();
    }
  }

  /**
   * Takes the mutex with the table of `grain` resident.
   *
   * @returns `end`, or where that table's grains end: a run never leaves its table
   */
  #lockTable(grain: number, end: number): number {
    const { state, tables, grainBytes } = this.#parts;
    for (;;) {
      state.mutex.lock();
      let isResident = false;
      try {
        isResident = tables.makeResident(grain);
      } finally {
        if (!isResident) state.mutex.unlock();
      }
      if (isResident) break;
      this.#makeRoom();
    }
    const table = Math.floor(grain / tables.tableEntries);
    return Math.min(end, (table + 1) * tables.tableEntries * grainBytes);
  }

  /** Bytes at the start of the request that would change nothing: grain by grain, zeros over a hole. */
  #skip(source: Uint8Array, sourceOffset: number, offset: number, end: number): number {
    let at = offset;
    while (at < end && this.#changesNothing(source, sourceOffset + at - offset, at, end)) {
      at = Math.min(end, this.#grainEnd(at));
    }
    return at - offset;
  }

  #changesNothing(source: Uint8Array, sourceOffset: number, at: number, end: number): boolean {
    const { beneath, grainBytes, tables } = this.#parts;
    const length = Math.min(end, this.#grainEnd(at)) - at;
    const entry = tables.lookup(Math.floor(at / grainBytes));
    if (isAllocated(entry) || !isZero(source, sourceOffset, length)) return false;
    return entry === GTE_ZEROED || beneath.isHole(at, length);
  }

  /** Where the run of new grains that begins at `offset` ends: at an allocated or a skipped one. */
  #runEnd(source: Uint8Array, sourceOffset: number, offset: number, end: number): number {
    const { grainBytes, tables } = this.#parts;
    let at = Math.min(end, this.#grainEnd(offset));
    while (at < end) {
      if (isAllocated(tables.lookup(Math.floor(at / grainBytes)))) break;
      if (this.#changesNothing(source, sourceOffset + at - offset, at, end)) break;
      at = Math.min(end, this.#grainEnd(at));
    }
    return at;
  }

  /** Where a run that begins at `offset` ends for want of room, or `end`. */
  #roomEnd(offset: number, end: number): number {
    const { allocator, grainBytes } = this.#parts;
    const start = alignDown(offset, grainBytes);
    const count = Math.ceil((end - start) / grainBytes);
    return Math.min(end, start + allocator.room(count) * grainBytes);
  }

  #allocate(source: Uint8Array, sourceOffset: number, offset: number, end: number): void {
    const { allocator, codec, flags, grainBytes, state, tables } = this.#parts;
    const first = Math.floor(offset / grainBytes);
    const count = Math.floor((end - 1) / grainBytes) - first + 1;
    const before = allocator.mark();
    const made: Uint32Array[] = [];
    let place: number | undefined;
    let isWritten = false;
    flags.markData();
    try {
      this.#ensureTable(first, made);
      place = allocator.takeGrains(count);
      this.#fill(source, sourceOffset, offset, end, place);
      isWritten = true;
    } finally {
      if (!isWritten) this.#giveBack(before, place, first, made);
    }
    for (let index = 0; index < count; index++) {
      tables.set(first + index, entryFor(codec.grains, place + index * grainBytes));
    }
    allocator.publish(place, count);
    state.counters.add('grainsAllocated', count);
  }

  /**
   * What was taken for new grains at `place`, and for the table of `first`, was not written: it goes
   * back, with the space of what the host took before it refused.
   */
  #giveBack(
    before: AllocationMark,
    place: number | undefined,
    first: number,
    made: readonly Uint32Array[],
  ): void {
    const { allocator, file, flags, isSpaceFresh, state, tables } = this.#parts;
    const { end } = allocator;
    allocator.dropTable(Math.floor(first / tables.tableEntries), made);
    allocator.giveBack(before, place);
    // Elsewhere zeros are written around new bytes in any case.
    if (!isSpaceFresh || end === before.end) return;
    flags.markData();
    let isPunched = false;
    try {
      isPunched = state.punch(file, before.end, end - before.end);
    } catch {
      // The writer hears of the first failure.
    }
    if (!isPunched) allocator.leaveLeftovers(end);
  }

  /** Writes new grains at `place`, and what the file says of them. */
  #fill(
    source: Uint8Array,
    sourceOffset: number,
    offset: number,
    end: number,
    place: number,
  ): void {
    const { file, flags, grainBytes, record, size } = this.#parts;
    const first = Math.floor(offset / grainBytes);
    const last = Math.floor((end - 1) / grainBytes);
    const start = first * grainBytes;
    record.grainsTaken(place, first, last - first + 1);
    file.write(source, sourceOffset, end - offset, place + offset - start);
    this.#fillFromBeneath(first, start, offset, place);
    const tailEnd = Math.min(size, (last + 1) * grainBytes);
    this.#fillFromBeneath(last, end, tailEnd, place + end - start);
    flags.markData();
  }

  /** Writes what lies beneath `[from, to)`, a part of `grain`, at `place`. */
  #fillFromBeneath(grain: number, from: number, to: number, place: number): void {
    const { allocator, beneath, file, state, tables } = this.#parts;
    const length = to - from;
    if (length <= 0) return;
    const isSpaceFresh = this.#parts.isSpaceFresh && !allocator.hasLeftovers(place);
    const isHole = tables.lookup(grain) !== GTE_UNALLOCATED || beneath.isHole(from, length);
    if (isHole && isSpaceFresh) return;
    let isWritten = false;
    for (let done = 0; done < length; done += FILL.length) {
      const count = Math.min(FILL.length, length - done);
      if (isHole) FILL.fill(0, 0, count);
      else beneath.read(FILL, 0, count, from + done);
      if (isSpaceFresh && isZero(FILL, 0, count)) continue;
      file.write(FILL, 0, count, place + done);
      isWritten = true;
    }
    if (isWritten && !isHole) state.counters.add('copyFills');
  }

  /**
   * The table of `grain` is about to change: it gets a place, and a flush will look for it.
   *
   * @param made gets the directories that had no place for it
   */
  #ensureTable(grain: number, made?: Uint32Array[]): void {
    const { allocator, flags, tables } = this.#parts;
    flags.markTables();
    allocator.ensureTable(tables, Math.floor(grain / tables.tableEntries), made);
  }

  #grainEnd(offset: number): number {
    const { grainBytes } = this.#parts;
    return alignDown(offset, grainBytes) + grainBytes;
  }
}
