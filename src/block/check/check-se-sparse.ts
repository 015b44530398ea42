/**
 * Checking a seSparse extent: its directory and tables, and what it says of its space, which follows
 * from them: the bitmap of grains in use, the map back to the disk, and the number of tables.
 */
import { GTE_UNALLOCATED, isAllocated } from '../../vmdk/grain-entry.js';
import { grainCount, tableCount } from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { encodeBackMapEntry } from '../../vmdk/se-sparse-entry.js';
import {
  decodeSeSparseHeader,
  decodeVolatileHeader,
  SeSparseVolatileHeader,
  type SeSparseHeader,
} from '../../vmdk/se-sparse-header.js';
import { SESPARSE_ENTRY_BYTES } from '../../vmdk/se-sparse-regions.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { readBytes } from '../find-descriptor.js';
import { HostFile } from '../host-file.js';
import { decodeSeSparseDirectory, SeSparseCodec } from '../se-sparse-codec.js';
import { placeOf } from '../table-codec.js';
import {
  isNear,
  leakOf,
  overlapping,
  report,
  sorted,
  Window,
  type ExtentCheck,
} from './extent-check.js';
import type { Problem } from './problem.js';

/** What is read of bitmap and backmap at a time: grains may be in any order. */
const PAGE_BYTES = 4096;

/** Checks a seSparse extent. */
export function checkSeSparseExtent(check: ExtentCheck): void {
  const { file } = check;
  const header = decodeSeSparseHeader(readBytes(file, 0, SECTOR_BYTES), file.path);
  const state = decodeVolatileHeader(
    readBytes(file, header.volatileOffset, SECTOR_BYTES),
    file.path,
  );
  if (state.replayJournal) {
    report(check, {
      kind: 'unusable',
      severity: 'error',
      message: 'its journal has changes that ESXi did not finish, which only ESXi can replay',
    });
    return;
  }
  if (check.size > header.capacity) {
    report(check, {
      kind: 'capacity',
      severity: 'error',
      message: `its extent line has ${check.size} bytes, its header only ${header.capacity}`,
    });
  }
  if (check.file.length < header.grains.offset) {
    report(check, {
      kind: 'truncated',
      severity: 'error',
      offset: check.file.length,
      message: `its grains begin at byte ${header.grains.offset}, but the file has only ${check.file.length}`,
    });
  }
  check.files.claimTables(tableCount(header), file.path);
  new SeSparseCheck(check, header).run(state.freeTableNumber);
}

class SeSparseCheck {
  readonly #check: ExtentCheck;
  readonly #header: SeSparseHeader;
  readonly #codec: SeSparseCodec;
  readonly #file: HostFile;
  readonly #bitmap: Window;
  readonly #backMap: Window;
  /** Grains of the disk that have one in the file to themselves, which the bitmap has as in use. */
  #recorded = 0;
  /** Bytes of the bitmap that a repair changes, by their place: it may change several bits of one. */
  readonly #mended = new Map<number, number>();
  constructor(check: ExtentCheck, header: SeSparseHeader) {
    this.#check = check;
    this.#header = header;
    this.#codec = new SeSparseCodec(header);
    this.#file = new HostFile(check.file);
    this.#bitmap = new Window(this.#file, PAGE_BYTES);
    this.#backMap = new Window(this.#file, PAGE_BYTES);
  }

  run(freeTableNumber: number): void {
    const directory = this.#readDirectory();
    const tables = new Map<number, number>();
    const found: Uint32Array[] = [];
    let last = -1;
    directory.forEach((entry, table) => {
      this.#check.progress(table / directory.length / 2);
      if (!isAllocated(entry)) return;
      const position = placeOf(this.#codec.tables, entry);
      const number = (position - this.#header.tables.offset) / this.#header.tableBytes;
      if (!this.#isTable(table, entry, position, tables)) return;
      tables.set(entry, table);
      last = Math.max(last, number);
      found.push(this.#checkTable(table, position));
    });
    this.#checkTableCount(last + 1, freeTableNumber);
    const shared = overlapping(sorted(found), 1);
    for (const [entry, table] of tables) {
      this.#check.progress((1 + table / directory.length) / 2);
      this.#checkGrains(table, placeOf(this.#codec.tables, entry), shared);
    }
    // Where an entry is wrong, it may be what leads to them.
    if (this.#check.problems.errorsIn(this.#check.file.path) === 0) this.#checkLeaks();
  }

  /**
   * Grains that the bitmap has as in use and no table leads to: what a crash left, or a write that
   * failed. They are taken again when the file can grow no more, so this is only said.
   */
  #checkLeaks(): void {
    const { grainBytes, grains } = this.#header;
    const inFile = Math.min(grains.length, this.#check.file.length - grains.offset);
    const count = Math.ceil(Math.max(0, inFile) / grainBytes);
    const leaked = this.#bitsSet(count) - this.#recorded;
    if (leaked > 0) report(this.#check, leakOf(leaked * grainBytes));
  }

  /** How many of the first `count` grains, those in the file, the bitmap has as in use. */
  #bitsSet(count: number): number {
    const { offset } = this.#header.freeBitmap;
    const end = offset + Math.ceil(count / 8);
    const page = new Uint8Array(PAGE_BYTES);
    let total = 0;
    // The map of a large disk is mostly a hole.
    const next = (from: number): number => this.#file.nextData(from, end);
    for (let at = next(offset); at < end; at = next(at + PAGE_BYTES)) {
      const length = Math.min(PAGE_BYTES, end - at);
      this.#file.read(page, 0, length, at);
      if (at + length === end && count % 8 !== 0) {
        page[length - 1] = (page[length - 1] ?? 0) & ((1 << (count % 8)) - 1);
      }
      for (let index = 0; index < length; index++) total += onesOf(page[index] ?? 0);
    }
    return total;
  }

  /** The directory; entries that are not known are reported, and lead nowhere then. */
  #readDirectory(): Uint32Array {
    const wide = new Uint32Array(2 * tableCount(this.#header));
    const bytes = new Uint8Array(wide.buffer);
    const { offset } = this.#header.directory;
    this.#file.read(bytes, 0, bytes.length, offset);
    const { path } = this.#check.file;
    const whole = attempt(() => decodeSeSparseDirectory(wide, path));
    if (!(whole instanceof VmdkError)) return whole;
    return Uint32Array.from({ length: wide.length / 2 }, (_, table) => {
      if (this.#check.problems.isFull) return GTE_UNALLOCATED;
      const entry = attempt(() =>
        decodeSeSparseDirectory(wide.subarray(2 * table, 2 * table + 2), path),
      );
      if (!(entry instanceof VmdkError)) return entry[0] ?? GTE_UNALLOCATED;
      report(this.#check, {
        kind: 'directory-entry',
        severity: 'error',
        offset: offset + table * SESPARSE_ENTRY_BYTES,
        message: `entry ${table} of the grain directory: ${entry.reason}`,
      });
      return GTE_UNALLOCATED;
    });
  }

  #isTable(
    table: number,
    entry: number,
    position: number,
    tables: ReadonlyMap<number, number>,
  ): boolean {
    const { tableBytes, tables: area } = this.#header;
    const end = Math.min(this.#check.file.length, area.offset + area.length);
    const other = tables.get(entry);
    if (other === undefined && position + tableBytes <= end) return true;
    report(this.#check, {
      kind: 'directory-entry',
      severity: 'error',
      offset: this.#header.directory.offset + table * SESPARSE_ENTRY_BYTES,
      message:
        other === undefined
          ? `entry ${table} of the grain directory leads to byte ${position}, tables end at byte ${end}`
          : `entries ${other} and ${table} of the grain directory lead to one table`,
    });
    return false;
  }

  /**
   * Reports what is wrong with the entries of a table by themselves.
   *
   * @returns those that lead to grains
   */
  #checkTable(table: number, position: number): Uint32Array {
    const { grainBytes, grains } = this.#header;
    const end = Math.min(this.#check.file.length, grains.offset + grains.length);
    return this.#readTable(table, position, true).filter((word, index) => {
      if (!isAllocated(word)) return false;
      const place = placeOf(this.#codec.grains, word);
      if (place < end) return true;
      const message = `the entry leads to byte ${place}, past the end of the grains (${end})`;
      this.#report(table, index, { kind: 'beyond-end', message, position }, grainBytes);
      return false;
    });
  }

  /** The entries of a table that count; those that are not known lead nowhere. */
  #readTable(table: number, position: number, isReported: boolean): Uint32Array {
    const { grainBytes, tableEntries } = this.#header;
    const count = Math.min(tableEntries, grainCount(this.#header) - table * tableEntries);
    const words = new Uint32Array(tableEntries);
    const failure = attempt(() => {
      this.#codec.read(this.#file, words, position);
    });
    if (!(failure instanceof VmdkError)) return words.subarray(0, count);
    // One by one is slow, and nobody reads that many.
    const last = this.#check.problems.isFull ? Math.min(1, count) : count;
    words.fill(GTE_UNALLOCATED);
    for (let index = 0; index < last; index++) {
      const entry = attempt(() => this.#codec.readEntry(this.#file, position, index));
      if (!(entry instanceof VmdkError)) words[index] = entry;
      else if (isReported) {
        const message = entry.reason;
        this.#report(table, index, { kind: 'unknown-entry', message, position }, grainBytes);
      }
    }
    return words.subarray(0, count);
  }

  #report(
    table: number,
    index: number,
    problem: { kind: Problem['kind']; message: string; position: number },
    grainBytes: number,
  ): void {
    const { kind, message, position } = problem;
    const grain = table * this.#header.tableEntries + index;
    const offset = position + index * SESPARSE_ENTRY_BYTES;
    report(this.#check, { kind, severity: 'error', grain, offset, message }, grainBytes);
  }

  /** Holds the grains of a table against all others, `shared` those that are not alone, and against the records. */
  #checkGrains(table: number, position: number, shared: Uint32Array): void {
    const { grainBytes, grains, tableEntries } = this.#header;
    const end = Math.min(this.#check.file.length, grains.offset + grains.length);
    this.#readTable(table, position, false).forEach((word, index) => {
      const place = placeOf(this.#codec.grains, word);
      if (!isAllocated(word) || place >= end) return;
      if (isNear(shared, word, 1)) {
        // Whose record it is nobody can know.
        const message = `the entry leads to byte ${place}, where another grain is too`;
        this.#report(table, index, { kind: 'shared-grain', message, position }, grainBytes);
      } else {
        this.#checkRecord(table * tableEntries + index, (place - grains.offset) / grainBytes);
      }
    });
  }

  /** The bitmap and the backmap of a grain in use. */
  #checkRecord(grain: number, index: number): void {
    const { backMap, freeBitmap, grainBytes } = this.#header;
    const bitOffset = freeBitmap.offset + Math.floor(index / 8);
    const byte = this.#bitmap.at(bitOffset, 1)[0] ?? 0;
    const mask = 1 << (index % 8);
    if ((byte & mask) !== 0) this.#recorded += 1;
    const backOffset = backMap.offset + index * SESPARSE_ENTRY_BYTES;
    const back = this.#backMap.at(backOffset, SESPARSE_ENTRY_BYTES);
    const expected = Buffer.from(Uint32Array.from(encodeBackMapEntry(grain)).buffer);
    const add = (offset: number, message: string, what: string, bytes: Uint8Array): void => {
      report(
        this.#check,
        {
          kind: 'allocation-record',
          severity: 'error',
          grain,
          offset,
          message,
          repairs: [{ phase: 'space', what, writes: [{ position: offset, bytes }] }],
        },
        grainBytes,
      );
    };
    if ((byte & mask) === 0) {
      const mended = (this.#mended.get(bitOffset) ?? byte) | mask;
      this.#mended.set(bitOffset, mended);
      const bytes = Uint8Array.of(mended);
      add(bitOffset, 'the bitmap has the grain as free', 'mark it as in use', bytes);
    }
    if (!back.equals(expected)) {
      const text = back.readBigUInt64LE().toString(16);
      add(backOffset, `the backmap has 0x${text} for it`, 'write its backmap entry', expected);
    }
  }

  #checkTableCount(needed: number, found: number): void {
    const { tableBytes, tables } = this.#header;
    const most = tables.length / tableBytes;
    if (found >= needed && found <= most) return;
    const offset = this.#header.volatileOffset + SeSparseVolatileHeader.freeGTNumber.offset;
    const bytes = new Uint8Array(SESPARSE_ENTRY_BYTES);
    new DataView(bytes.buffer).setUint32(0, needed, true);
    report(this.#check, {
      kind: 'allocation-record',
      severity: 'error',
      offset,
      message: `the next grain table has number ${found}, but ${needed} of ${most} are in use`,
      repairs: [
        {
          phase: 'space',
          what: `let the next table have number ${needed}`,
          writes: [{ position: offset, bytes }],
        },
      ],
    });
  }
}

/** How many bits of a byte are set. */
function onesOf(byte: number): number {
  let ones = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) ones += 1;
  return ones;
}

/** What `read` returns, or the VmdkError that it throws. */
function attempt<T>(read: () => T): T | VmdkError {
  try {
    return read();
  } catch (error) {
    if (error instanceof VmdkError) return error;
    throw error;
  }
}
