/**
 * Compacting a hosted or COWD extent.
 *
 *   1. grains of zeros are given up: their entries lead nowhere where nothing shows through from
 *      beneath, and are zeroed where that is allowed; else they stay
 *   2. grains from the end of the file move into the free places before them: first the copy, which
 *      is durable before the entry leads there, and only then is the old place free
 *   3. what is free in between becomes a hole, and the file ends behind the last grain or table
 *
 * The extent counts as in use meanwhile, so a crash leaves what every crash may: copies of tables that
 * lag behind, and space that nothing leads to.
 */
import { alignUp } from '../../binary/alignment.js';
import { intervalsOf, joinIntervals, joinStarts, type Intervals } from '../../binary/intervals.js';
import { u32Bytes } from '../../binary/struct.js';
import { CowdHeader } from '../../vmdk/cowd-header.js';
import { GTE_UNALLOCATED, GTE_ZEROED, isAllocated } from '../../vmdk/grain-entry.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { GrainAllocator } from '../grain-allocator.js';
import { writeAll, type SparseExtentDescription } from '../sparse-extent.js';
import { newTableCodec } from '../table-codec.js';
import {
  copyInFile,
  isZeroBeneath,
  isZeroInFile,
  type ExtentCompaction,
} from './extent-compaction.js';
import { TableChanges, type EntryChange } from './table-changes.js';

/** Entries that are changed together: three barriers each time. */
const BATCH = 4096;

/** Low bits of a key are the grain, high bits its sector: keys ascend as grains lie in the file. */
const GRAIN_BITS = 32n;

/** A stretch of the file that nothing uses; bytes. */
interface Gap {
  readonly start: number;
  readonly end: number;
}

/** Compacts the extent that `description` describes; bytes before `fixedEnd` stay what they are. */
export function compactSectors(
  compaction: ExtentCompaction,
  description: SparseExtentDescription,
  fixedEnd: number,
): void {
  new SectorCompaction(compaction, description, fixedEnd).run();
}

class SectorCompaction {
  readonly #compaction: ExtentCompaction;
  readonly #description: SparseExtentDescription;
  readonly #tables: TableChanges;
  readonly #fixed: Intervals;
  readonly #fixedEnd: number;
  #isMarked = false;

  constructor(
    compaction: ExtentCompaction,
    description: SparseExtentDescription,
    fixedEnd: number,
  ) {
    const { bounds, codec, tables } = description;
    this.#compaction = compaction;
    this.#description = description;
    this.#tables = new TableChanges(compaction.file, newTableCodec(codec), tables);
    const front = intervalsOf(Float64Array.of(0), fixedEnd);
    this.#fixed = joinIntervals(front, bounds.metadata);
    this.#fixedEnd = fixedEnd;
  }

  run(): void {
    const { file } = this.#compaction;
    const kept = this.#giveUpZeros();
    this.#move(kept);
    const end = this.#end(kept);
    this.#noteEnd(end);
    for (const gap of this.#gaps(kept, end)) this.#punch(gap);
    if (file.length() > end) {
      this.#mark();
      file.setLength(end);
    }
    if (!this.#isMarked) return;
    file.sync();
    writeAll(file, this.#description.lastWrites);
    file.sync();
  }

  /** The extent is in use from the first change on. */
  #mark(): void {
    if (this.#isMarked) return;
    this.#isMarked = true;
    const { file } = this.#compaction;
    writeAll(file, this.#description.firstWrites);
    file.sync();
  }

  /**
   * Takes the entries of grains of zeros away.
   *
   * @returns a key for each grain that stays, ascending
   */
  #giveUpZeros(): BigUint64Array {
    const { tableEntries } = this.#description.tables;
    const { directory } = this.#tables;
    // As many as there can be: a list of parts would be there beside what it is joined to.
    const keys = new BigUint64Array(this.#grainsInUse());
    let count = 0;
    let changes: EntryChange[] = [];
    directory.forEach((_, table) => {
      this.#compaction.progress((table / directory.length) * 0.5);
      const words = this.#tables.read(table);
      if (words === undefined) return;
      words.forEach((word, index) => {
        const grain = table * tableEntries + index;
        if (!isAllocated(word) || grain >= this.#description.bounds.grainCount) return;
        const entry = this.#entryFor(grain, word);
        if (entry === word) keys[count++] = (BigInt(word) << GRAIN_BITS) | BigInt(grain);
        else changes.push({ grain, entry });
      });
      if (changes.length < BATCH) return;
      this.#apply(changes);
      changes = [];
    });
    this.#apply(changes);
    // A grain without a key would be overwritten.
    if (count > keys.length) throw new RangeError(`${count} grains, ${keys.length} expected`);
    return keys.subarray(0, count).sort();
  }

  /** As many as all tables lead to, by the pass over them when the image was opened. */
  #grainsInUse(): number {
    return new GrainAllocator(this.#description.allocator).allocatedGrains;
  }

  #apply(changes: readonly EntryChange[]): void {
    if (changes.length === 0) return;
    this.#mark();
    this.#tables.apply(changes);
  }

  /** What the entry `word` of `grain` is to become. */
  #entryFor(grain: number, word: number): number {
    const { grainBytes, hasZeroedGrains, size } = this.#description;
    const offset = grain * grainBytes;
    const length = Math.min(grainBytes, size - offset);
    // Bytes behind the end of the disk do not count.
    if (length > 0 && !isZeroInFile(this.#compaction.file, word * SECTOR_BYTES, length))
      return word;
    if (length <= 0 || isZeroBeneath(this.#compaction, offset, length)) return GTE_UNALLOCATED;
    return hasZeroedGrains ? GTE_ZEROED : word;
  }

  /**
   * Moves grains from the end of the file into free places before them.
   *
   * @param keys of all grains, ascending before and after; changed
   */
  #move(keys: BigUint64Array): void {
    const { grainBytes } = this.#description;
    let changes: EntryChange[] = [];
    let last = keys.length - 1;
    for (const target of this.#freePlaces(keys)) {
      if (last < 0 || target >= placeOf(keys, last)) break;
      this.#compaction.progress(0.5 + (1 - last / keys.length) * 0.5);
      this.#mark();
      copyInFile(this.#compaction.file, placeOf(keys, last), target, grainBytes);
      const grain = BigInt.asUintN(32, keys[last] ?? 0n);
      const entry = target / SECTOR_BYTES;
      changes.push({ grain: Number(grain), entry });
      keys[last] = (BigInt(entry) << GRAIN_BITS) | grain;
      last -= 1;
      if (changes.length < BATCH) continue;
      this.#apply(changes);
      changes = [];
    }
    this.#apply(changes);
    keys.sort();
  }

  /** Free places for grains as they lie at the start, ascending. */
  *#freePlaces(keys: BigUint64Array): Generator<number, void, undefined> {
    const { grainBytes } = this.#description;
    const limit = keys.length === 0 ? 0 : placeOf(keys, keys.length - 1);
    for (const { end, start } of this.#gaps(keys, limit)) {
      for (let at = start; at + grainBytes <= end; at += grainBytes) yield at;
    }
  }

  /**
   * What nothing uses before `limit`, as the grains lie when the first is asked for; from a sector on
   * that a grain may begin at.
   */
  *#gaps(keys: BigUint64Array, limit: number): Generator<Gap, void, undefined> {
    const { grainBytes } = this.#description;
    const startOf = (index: number): number => placeOf(keys, index);
    const used = joinStarts(this.#fixed, keys.length, startOf, grainBytes);
    for (let index = 1; index < used.length; index += 2) {
      const start = alignUp(used[index] ?? 0, grainBytes);
      const end = Math.min(limit, used[index + 1] ?? limit);
      if (end - start >= grainBytes) yield { start, end };
    }
  }

  #punch({ end, start }: Gap): void {
    const { file } = this.#compaction;
    if (file.nextData(start, end) >= end) return;
    this.#mark();
    file.punch(start, end - start);
  }

  /** Where the file ends behind everything in use. */
  #end(keys: BigUint64Array): number {
    const { grainBytes } = this.#description;
    const grainsEnd = keys.length === 0 ? 0 : placeOf(keys, keys.length - 1) + grainBytes;
    return Math.max(this.#fixedEnd, this.#fixed.at(-1) ?? 0, grainsEnd);
  }

  /** A COWD extent says where its free space begins: never before anything in use. */
  #noteEnd(end: number): void {
    if (this.#description.record.kind !== 'cowd') return;
    const { file } = this.#compaction;
    const bytes = u32Bytes(alignUp(end, SECTOR_BYTES) / SECTOR_BYTES);
    const found = new Uint8Array(bytes.length);
    file.read(found, 0, found.length, CowdHeader.freeSector.offset);
    if (Buffer.compare(found, bytes) === 0) return;
    this.#mark();
    file.write(bytes, 0, bytes.length, CowdHeader.freeSector.offset);
  }
}

/** Where the grain of a key begins in the file, bytes. */
function placeOf(keys: BigUint64Array, index: number): number {
  return Number((keys[index] ?? 0n) >> GRAIN_BITS) * SECTOR_BYTES;
}
