/**
 * Checking a seSparse extent: its directory and tables, and what it says of its space, which follows
 * from them: the bitmap of grains in use, the map back to the disk, and the number of tables.
 */
import { isAllocated } from '../../vmdk/grain-entry.js';
import { grainCount, tableCount } from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { encodeBackMapEntry } from '../../vmdk/se-sparse-entry.js';
import {
  decodeSeSparseHeader,
  decodeVolatileHeader,
  SeSparseVolatileHeader,
  type SeSparseHeader,
} from '../../vmdk/se-sparse-header.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { readBytes } from '../find-descriptor.js';
import { HostFile } from '../host-file.js';
import { decodeSeSparseDirectory, SeSparseCodec } from '../se-sparse-codec.js';
import { placeOf } from '../table-codec.js';
import { report, reportShared, Window, type ExtentCheck } from './extent-check.js';

const WIDE_BYTES = 8;

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
  new SeSparseCheck(check, header).run(state.freeTableNumber);
}

class SeSparseCheck {
  readonly #check: ExtentCheck;
  readonly #header: SeSparseHeader;
  readonly #codec: SeSparseCodec;
  readonly #file: HostFile;
  readonly #bitmap: Window;
  readonly #backMap: Window;
  /** Bytes of the bitmap that a repair changes, by their place: it may change several bits of one. */
  readonly #mended = new Map<number, number>();
  /** The entries in use of each table. */
  readonly #found: Uint32Array[] = [];

  constructor(check: ExtentCheck, header: SeSparseHeader) {
    this.#check = check;
    this.#header = header;
    this.#codec = new SeSparseCodec(header);
    this.#file = new HostFile(check.file);
    this.#bitmap = new Window(this.#file);
    this.#backMap = new Window(this.#file);
  }

  run(freeTableNumber: number): void {
    const directory = this.#readDirectory();
    const tables = new Map<number, number>();
    let last = -1;
    directory.forEach((entry, table) => {
      this.#check.progress(table / directory.length);
      if (!isAllocated(entry)) return;
      const position = placeOf(this.#codec.tables, entry);
      const number = (position - this.#header.tables.offset) / this.#header.tableBytes;
      if (!this.#isTable(table, entry, position, tables)) return;
      tables.set(entry, table);
      last = Math.max(last, number);
      this.#checkTable(table, position);
    });
    this.#checkTableCount(last + 1, freeTableNumber);
    reportShared(this.#check, this.#found, this.#codec.grains, this.#header.grainBytes);
  }

  #readDirectory(): Uint32Array {
    const wide = new Uint32Array(2 * tableCount(this.#header));
    const bytes = new Uint8Array(wide.buffer);
    this.#file.read(bytes, 0, bytes.length, this.#header.directory.offset);
    return decodeSeSparseDirectory(wide, this.#check.file.path);
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
      offset: this.#header.directory.offset + table * WIDE_BYTES,
      message:
        other === undefined
          ? `entry ${table} of the grain directory leads to byte ${position}, tables end at byte ${end}`
          : `entries ${other} and ${table} of the grain directory lead to one table`,
    });
    return false;
  }

  #checkTable(table: number, position: number): void {
    const { tableEntries } = this.#header;
    const words = new Uint32Array(tableEntries);
    let isReadable = true;
    try {
      this.#codec.read(this.#file, words, position);
    } catch (error) {
      if (!(error instanceof VmdkError)) throw error;
      isReadable = false;
      report(this.#check, {
        kind: 'unknown-entry',
        severity: 'error',
        offset: position,
        message: `table ${table}: ${error.message}`,
      });
    }
    if (!isReadable) return;
    const count = Math.min(tableEntries, grainCount(this.#header) - table * tableEntries);
    for (let index = 0; index < count; index++) {
      const word = words[index] ?? 0;
      const offset = position + index * WIDE_BYTES;
      if (isAllocated(word)) this.#checkGrain(table * tableEntries + index, word, offset);
    }
    this.#found.push(words.subarray(0, count).filter(isAllocated));
  }

  #checkGrain(grain: number, word: number, offset: number): void {
    const { grainBytes, grains } = this.#header;
    const place = placeOf(this.#codec.grains, word);
    const end = Math.min(this.#check.file.length, grains.offset + grains.length);
    if (place < end) {
      this.#checkRecord(grain, (place - grains.offset) / grainBytes);
      return;
    }
    const message = `the entry leads to byte ${place}, past the end of the grains (${end})`;
    report(
      this.#check,
      { kind: 'beyond-end', severity: 'error', grain, offset, message },
      grainBytes,
    );
  }

  /** The bitmap and the backmap of a grain in use. */
  #checkRecord(grain: number, index: number): void {
    const { backMap, freeBitmap, grainBytes } = this.#header;
    const bitOffset = freeBitmap.offset + Math.floor(index / 8);
    const byte = this.#bitmap.at(bitOffset, 1)[0] ?? 0;
    const mask = 1 << (index % 8);
    const backOffset = backMap.offset + index * WIDE_BYTES;
    const back = this.#backMap.at(backOffset, WIDE_BYTES);
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
    if (found >= needed) return;
    const offset = this.#header.volatileOffset + SeSparseVolatileHeader.freeGTNumber.offset;
    const bytes = new Uint8Array(WIDE_BYTES);
    new DataView(bytes.buffer).setUint32(0, needed, true);
    report(this.#check, {
      kind: 'allocation-record',
      severity: 'error',
      offset,
      message: `the next grain table has number ${found}, but ${needed} are in use`,
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
