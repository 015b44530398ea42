/**
 * seSparse extents, the delta disks of later ESXi, written and read from the format's facts alone,
 * with literal offsets: nothing of the product's own encoder or decoder. Numbers of 64 bits are
 * BigInts throughout, since an entry uses all of them.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

const SECTOR = 512;
const MIB = 1024 * 1024;
const GRAIN = 4096;
const TABLE_BYTES = 32 * 1024;
const TABLE_ENTRIES = 4096;
const SEQUENCE = 0x24n;

export interface SeSparseShape {
  /** Size of the disk in sectors. */
  readonly sectors: number;
  /** Content of grains by their number on the disk; shorter content is padded with zeros. */
  readonly grains?: ReadonlyMap<number, Buffer>;
  /** The grains in the order in which the file holds them; that of the map if absent. */
  readonly order?: readonly number[];
  /**
   * Grains that the guest has discarded (entries of type 1): zeros. Each entry still names the
   * grain that held it, which is free and full of 0xdd, behind all allocated ones.
   */
  readonly unmapped?: ReadonlySet<number>;
  /** Grains that are zeros by their entry (type 2). */
  readonly zeroed?: ReadonlySet<number>;
  /** Whether the volatile header tells to replay the journal; 0 if absent. */
  readonly replayJournal?: number;
  /** One more grain full of 0xff behind all others, as ESXi leaves it. */
  readonly trailingGrain?: boolean;
}

/** Where the regions of an extent lie, in bytes from the start of the file. */
export interface SeSparsePlaces {
  readonly gdOffset: number;
  readonly tablesOffset: number;
  readonly bitmapOffset: number;
  readonly backmapOffset: number;
  readonly grainsOffset: number;
  /** Each table in use, by the number of its directory entry. */
  readonly tableOffsets: ReadonlyMap<number, number>;
  /** Each allocated grain, by its number on the disk. */
  readonly grainOffsets: ReadonlyMap<number, number>;
}

const up = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** The number of a grain as entries hold it: the low 12 bits above the others. */
const shuffle = (index: number): bigint =>
  ((BigInt(index) & 0xfffn) << 48n) | (BigInt(index) >> 12n);

/** Regions in the order of the file, each of whole mebibytes, the first at 2 MiB. */
function regionsOf(sectors: number) {
  const grains = Math.ceil((sectors * SECTOR) / GRAIN);
  const tables = Math.ceil(grains / TABLE_ENTRIES);
  const gdOffset = 2 * MIB;
  const tablesOffset = gdOffset + up(tables * 8, MIB);
  const bitmapOffset = tablesOffset + up(tables * TABLE_BYTES, MIB);
  const backmapOffset = bitmapOffset + up(Math.ceil(grains / 8), MIB);
  const grainsOffset = backmapOffset + up(grains * 8, MIB);
  return { gdOffset, tablesOffset, bitmapOffset, backmapOffset, grainsOffset };
}

type Regions = ReturnType<typeof regionsOf>;

/** Writes an extent; regions without content are holes of the file. */
export function writeSeSparseFile(path: string, shape: SeSparseShape): SeSparsePlaces {
  const regions = regionsOf(shape.sectors);
  const fd = openSync(path, 'w');
  const put = (at: number, bytes: Uint8Array): void => {
    writeSync(fd, bytes, 0, bytes.length, at);
  };
  const grains = shape.grains ?? new Map<number, Buffer>();
  const order = shape.order ?? [...grains.keys()];
  if (new Set(order).size !== grains.size || order.some((grain) => !grains.has(grain))) {
    throw new Error('the order does not name every grain once');
  }
  const { tableOffsets, enter } = tablesIn(put, regions);
  const grainOffsets = new Map<number, number>();
  const bitmap = Buffer.alloc(Math.ceil(order.length / 8));
  order.forEach((grain, index) => {
    const at = regions.grainsOffset + index * GRAIN;
    const bytes = Buffer.alloc(GRAIN);
    grains.get(grain)?.copy(bytes);
    put(at, bytes);
    grainOffsets.set(grain, at);
    const byte = Math.floor(index / 8);
    bitmap.writeUInt8(bitmap.readUInt8(byte) | (1 << (index % 8)), byte);
    put(regions.backmapOffset + index * 8, u64((1n << 60n) | shuffle(grain)));
    enter(grain, (3n << 60n) | shuffle(index));
  });
  put(regions.bitmapOffset, bitmap);
  let end = order.length;
  for (const grain of shape.unmapped ?? []) {
    put(regions.grainsOffset + end * GRAIN, Buffer.alloc(GRAIN, 0xdd));
    enter(grain, (1n << 60n) | shuffle(end));
    end += 1;
  }
  for (const grain of shape.zeroed ?? []) enter(grain, 2n << 60n);
  if (shape.trailingGrain === true) {
    put(regions.grainsOffset + end * GRAIN, Buffer.alloc(GRAIN, 0xff));
    end += 1;
  }
  put(0, headersOf(shape, regions, tableOffsets.size));
  ftruncateSync(fd, regions.grainsOffset + end * GRAIN);
  closeSync(fd);
  return { ...regions, tableOffsets, grainOffsets };
}

/** A 64-bit number as its bytes. */
function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** Tables in the order in which grains need them, so that numbers of tables are not those of entries. */
function tablesIn(put: (at: number, bytes: Uint8Array) => void, regions: Regions) {
  const tableOffsets = new Map<number, number>();
  const enter = (grain: number, entry: bigint): void => {
    const table = Math.floor(grain / TABLE_ENTRIES);
    let offset = tableOffsets.get(table);
    if (offset === undefined) {
      const index = tableOffsets.size;
      offset = regions.tablesOffset + index * TABLE_BYTES;
      tableOffsets.set(table, offset);
      put(regions.gdOffset + table * 8, u64((1n << 60n) | BigInt(index)));
    }
    put(offset + (grain % TABLE_ENTRIES) * 8, u64(entry));
  };
  return { tableOffsets, enter };
}

/** Constant header, volatile header and journal header. */
function headersOf(shape: SeSparseShape, regions: Regions, tablesInUse: number): Buffer {
  const headers = Buffer.alloc(4 * SECTOR);
  const sectorsOf = (from: number, to: number): bigint => BigInt((to - from) / SECTOR);
  const { gdOffset, tablesOffset, bitmapOffset, backmapOffset, grainsOffset } = regions;
  const numbers: readonly (readonly [offset: number, value: bigint])[] = [
    [0, 0xcafebaben],
    [8, 0x2_0000_0001n],
    [16, BigInt(shape.sectors)],
    [24, 8n],
    [32, 64n],
    [80, 1n],
    [88, 1n],
    [96, 2n],
    [104, 2n],
    [112, 0x800n],
    [120, 0x800n],
    [128, sectorsOf(0, gdOffset)],
    [136, sectorsOf(gdOffset, tablesOffset)],
    [144, sectorsOf(0, tablesOffset)],
    [152, sectorsOf(tablesOffset, bitmapOffset)],
    [160, sectorsOf(0, bitmapOffset)],
    [168, sectorsOf(bitmapOffset, backmapOffset)],
    [176, sectorsOf(0, backmapOffset)],
    [184, sectorsOf(backmapOffset, grainsOffset)],
    [192, sectorsOf(0, grainsOffset)],
    [200, BigInt(shape.sectors)],
    [512, 0xcafecafen],
    [520, BigInt(tablesInUse)],
    [528, SEQUENCE],
    [536, BigInt(shape.replayJournal ?? 0)],
    [1024, 0xdeafc0den],
    [1032, SEQUENCE],
    [1040, 1n],
  ];
  for (const [offset, value] of numbers) headers.writeBigUInt64LE(value, offset);
  return headers;
}

/** What an extent's tables say, and everything that is wrong with them, in words. */
export interface SeSparseFacts {
  /** The table entry of each grain. */
  readonly entries: BigUint64Array;
  /** How many tables are in use. */
  readonly freeTableNumber: bigint;
  readonly replayJournal: bigint;
  /** Grains that the bitmap calls used. */
  readonly grainsInUse: number;
  readonly problems: readonly string[];
}

/** What the inspection of one extent shares. */
interface Inspection {
  readonly fileBytes: number;
  readonly read: (at: number, length: number) => Buffer;
  readonly problems: string[];
  /** Grains of the disk; the file has no more. */
  readonly grains: number;
  readonly freeTableNumber: bigint;
  /** The sectors that the header says at `at`, in bytes. */
  readonly offset: (at: number) => number;
}

/** Reads an extent's tables and checks them as another program would. */
export function inspectSeSparseFile(path: string): SeSparseFacts {
  const fd = openSync(path, 'r');
  const read = (at: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    readSync(fd, bytes, 0, length, at);
    return bytes;
  };
  const facts = inspectSeSparse({ fileBytes: fstatSync(fd).size, read });
  closeSync(fd);
  return facts;
}

/** The same for a file that is read by `read`; bytes past its end are zeros. */
export function inspectSeSparse(file: Pick<Inspection, 'fileBytes' | 'read'>): SeSparseFacts {
  const headers = file.read(0, 2 * SECTOR);
  const freeTableNumber = headers.readBigUInt64LE(520);
  const replayJournal = headers.readBigUInt64LE(536);
  const inspection: Inspection = {
    ...file,
    problems: [],
    grains: Math.ceil((Number(headers.readBigUInt64LE(16)) * SECTOR) / GRAIN),
    freeTableNumber,
    offset: (at) => Number(headers.readBigUInt64LE(at)) * SECTOR,
  };
  if (replayJournal !== 0n)
    inspection.problems.push(`replay_journal is ${replayJournal.toString()}`);
  const entries = readEntries(inspection);
  const grainsInUse = checkGrains(inspection, entries);
  return {
    entries,
    freeTableNumber,
    replayJournal,
    grainsInUse,
    problems: inspection.problems,
  };
}

/** Reads the tables that the directory names. */
function readEntries(inspection: Inspection): BigUint64Array {
  const { grains, problems, read } = inspection;
  const entries = new BigUint64Array(grains);
  const count = Math.ceil(grains / TABLE_ENTRIES);
  const directory = read(inspection.offset(128), count * 8);
  const owners = new Map<bigint, number>();
  for (let table = 0; table < count; table++) {
    const entry = directory.readBigUInt64LE(table * 8);
    if (entry === 0n) continue;
    const index = entry & 0xffff_ffffn;
    if (entry >> 32n !== 0x1000_0000n) {
      problems.push(`directory entry ${table} is ${entry.toString(16)}`);
      continue;
    }
    if (index >= inspection.freeTableNumber) {
      problems.push(
        `directory entry ${table} names table ${index.toString()}, but ${inspection.freeTableNumber.toString()} are in use`,
      );
    }
    const owner = owners.get(index);
    if (owner !== undefined) {
      problems.push(`directory entries ${owner} and ${table} share table ${index.toString()}`);
    }
    owners.set(index, table);
    const at = inspection.offset(144) + Number(index) * TABLE_BYTES;
    if (at + TABLE_BYTES > inspection.offset(144) + inspection.offset(152)) {
      problems.push(`directory entry ${table} names a table outside the region of tables`);
      continue;
    }
    const bytes = read(at, TABLE_BYTES);
    const first = table * TABLE_ENTRIES;
    for (let slot = 0; slot < Math.min(TABLE_ENTRIES, grains - first); slot++) {
      entries[first + slot] = bytes.readBigUInt64LE(slot * 8);
    }
  }
  return entries;
}

/** The grain that an entry names. */
const indexOf = (entry: bigint): bigint =>
  ((entry >> 48n) & 0xfffn) | ((entry & 0xffff_ffff_ffffn) << 12n);

/** Checks every allocated grain against file, bitmap, backmap and all others; the grains in use. */
function checkGrains(inspection: Inspection, entries: BigUint64Array): number {
  const { fileBytes, grains, problems } = inspection;
  const grainsOffset = inspection.offset(192);
  const bitmap = inspection.read(inspection.offset(160), Math.ceil(grains / 8));
  const backmap = inspection.read(inspection.offset(176), grains * 8);
  const owners = new Map<bigint, number>();
  entries.forEach((entry, grain) => {
    if (entry === 0n) return;
    const type = entry >> 60n;
    if (type > 3n || type === 0n) {
      problems.push(`the entry of grain ${grain} is ${entry.toString(16)}`);
    }
    if (type !== 3n) return;
    const index = indexOf(entry);
    const where = `grain ${grain} at ${index.toString()}`;
    const owner = owners.get(index);
    if (owner !== undefined)
      problems.push(`grains ${owner} and ${grain} share ${index.toString()}`);
    owners.set(index, grain);
    if (index >= BigInt(grains) || grainsOffset + (Number(index) + 1) * GRAIN > fileBytes) {
      problems.push(`${where} lies outside the file`);
      return;
    }
    const slot = Number(index);
    if ((bitmap.readUInt8(Math.floor(slot / 8)) & (1 << (slot % 8))) === 0) {
      problems.push(`${where} is free in the bitmap`);
    }
    const back = backmap.readBigUInt64LE(slot * 8);
    if (back !== ((1n << 60n) | shuffle(grain))) {
      problems.push(`${where} is ${back.toString(16)} in the backmap`);
    }
  });
  return bitmap.reduce((count, byte) => count + bitsOf(byte), 0);
}

function bitsOf(byte: number): number {
  let count = 0;
  for (let rest = byte; rest !== 0; rest >>= 1) count += rest & 1;
  return count;
}
