/**
 * COWD extents, the delta disks of ESX, written and read from the format's facts alone, with
 * literal offsets: nothing of the product's own encoder or decoder.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pastTheEnd, shared, type Claim } from './claims.js';

const SECTOR = 512;
const PAGE = 4096;
const TABLE_ENTRIES = 4096;
const TABLE_SECTORS = 32;
const HEADER_SECTORS = 4;

export interface CowdShape {
  /** Size of the disk in sectors. */
  readonly sectors: number;
  /** Sectors; 1 if absent. */
  readonly grainSectors?: number;
  /**
   * Content of grains by their number on the disk. The file holds them in the map's order, each
   * table in front of its first grain. Content that is shorter than a grain is padded with zeros.
   */
  readonly grains?: ReadonlyMap<number, Buffer>;
  /** Grains whose entry is 1: zeros, whatever the parent holds. */
  readonly zeroed?: ReadonlySet<number>;
  /** Bytes of the file behind the last grain, past the free sector. */
  readonly preExtend?: number;
  /** What each of these bytes is; 0xee if absent, so that nobody takes them for zeros. */
  readonly preExtendFill?: number;
  /** What the header says instead of the first sector behind everything. */
  readonly freeSector?: number;
  /** 0 if absent. */
  readonly uncleanShutdown?: number;
  readonly parentFileName?: string;
}

/** Where the parts of an extent lie, in bytes from the start of the file. */
export interface CowdPlaces {
  readonly gdOffset: number;
  /** Each table, by its number; only tables with entries are there. */
  readonly tableOffsets: ReadonlyMap<number, number>;
  readonly grainOffsets: ReadonlyMap<number, number>;
  /** The first sector behind everything, whatever the header says; in sectors. */
  readonly freeSector: number;
}

const up = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Writes an extent: header, directory padded to a page, tables and grains as they come. */
export function writeCowdFile(path: string, shape: CowdShape): CowdPlaces {
  const { grainSectors = 1 } = shape;
  const directoryEntries = Math.ceil(shape.sectors / (TABLE_ENTRIES * grainSectors));
  const front = Buffer.alloc(up(HEADER_SECTORS * SECTOR + directoryEntries * 4, PAGE));
  const parts: Buffer[] = [front];
  let freeSector = front.length / SECTOR;
  const append = (bytes: Buffer): number => {
    const at = freeSector;
    parts.push(bytes);
    freeSector += bytes.length / SECTOR;
    return at;
  };
  const tables = new Map<number, { readonly sector: number; readonly bytes: Buffer }>();
  const enter = (grain: number, entry: () => number): void => {
    const index = Math.floor(grain / TABLE_ENTRIES);
    let table = tables.get(index);
    if (table === undefined) {
      const bytes = Buffer.alloc(TABLE_SECTORS * SECTOR);
      table = { sector: append(bytes), bytes };
      tables.set(index, table);
      front.writeUInt32LE(table.sector, HEADER_SECTORS * SECTOR + index * 4);
    }
    table.bytes.writeUInt32LE(entry(), (grain % TABLE_ENTRIES) * 4);
  };
  const grainOffsets = new Map<number, number>();
  for (const [grain, content] of shape.grains ?? []) {
    const bytes = Buffer.alloc(grainSectors * SECTOR);
    content.copy(bytes);
    enter(grain, () => append(bytes));
    grainOffsets.set(grain, (freeSector - grainSectors) * SECTOR);
  }
  for (const grain of shape.zeroed ?? []) enter(grain, () => 1);
  parts.push(Buffer.alloc(shape.preExtend ?? 0, shape.preExtendFill ?? 0xee));
  writeHeader(front, shape, directoryEntries, freeSector);
  writeFileSync(path, Buffer.concat(parts));
  const tableOffsets = [...tables].map(([index, { sector }]) => [index, sector * SECTOR] as const);
  return {
    gdOffset: HEADER_SECTORS * SECTOR,
    tableOffsets: new Map(tableOffsets),
    grainOffsets,
    freeSector,
  };
}

function writeHeader(
  file: Buffer,
  shape: CowdShape,
  directoryEntries: number,
  freeSector: number,
): void {
  file.write('COWD', 0, 'latin1');
  file.writeUInt32LE(1, 4);
  file.writeUInt32LE(3, 8);
  file.writeUInt32LE(shape.sectors, 12);
  file.writeUInt32LE(shape.grainSectors ?? 1, 16);
  file.writeUInt32LE(HEADER_SECTORS, 20);
  file.writeUInt32LE(directoryEntries, 24);
  file.writeUInt32LE(shape.freeSector ?? freeSector, 28);
  if (shape.parentFileName !== undefined) file.write(shape.parentFileName, 32, 1023, 'utf8');
  file.writeUInt32LE(shape.uncleanShutdown ?? 0, 1648);
}

/** What an extent's tables say, and everything that is wrong with them, in words. */
export interface CowdFacts {
  /** The table entry of each grain. */
  readonly entries: readonly number[];
  /** As the header says it, in sectors. */
  readonly freeSector: number;
  readonly uncleanShutdown: number;
  readonly problems: readonly string[];
}

/** Reads an extent's tables and checks them as another program would. */
export function inspectCowdFile(path: string): CowdFacts {
  return inspectCowd(readFileSync(path));
}

/** The same for the bytes of a file. */
export function inspectCowd(file: Buffer): CowdFacts {
  const sectors = file.readUInt32LE(12);
  const grainSectors = file.readUInt32LE(16);
  const directory = file.readUInt32LE(20);
  const directoryEntries = file.readUInt32LE(24);
  const freeSector = file.readUInt32LE(28);
  const problems: string[] = [];
  const tableCount = Math.ceil(sectors / (TABLE_ENTRIES * grainSectors));
  if (directoryEntries < tableCount) {
    problems.push(`${directoryEntries} directory entries where ${tableCount} are needed`);
  }
  const claims: Claim[] = [
    { owner: 'the header', start: 0, end: HEADER_SECTORS },
    {
      owner: 'the directory',
      start: directory,
      end: directory + Math.ceil((directoryEntries * 4) / SECTOR),
    },
  ];
  const tables = Array.from({ length: tableCount }, (_, table) => {
    const start = file.readUInt32LE(directory * SECTOR + table * 4);
    if (start !== 0) claims.push({ owner: `table ${table}`, start, end: start + TABLE_SECTORS });
    return start;
  });
  const entries = Array.from({ length: Math.ceil(sectors / grainSectors) }, (_, grain) => {
    const table = tables[Math.floor(grain / TABLE_ENTRIES)] ?? 0;
    const at = table * SECTOR + (grain % TABLE_ENTRIES) * 4;
    const start = table === 0 || at + 4 > file.length ? 0 : file.readUInt32LE(at);
    // The file may cut off what of the last grain lies past the end of the disk.
    const used = Math.min(grainSectors, sectors - grain * grainSectors);
    if (start > 1) claims.push({ owner: `grain ${grain}`, start, end: start + used });
    return start;
  });
  problems.push(...pastTheEnd(claims, file.length), ...shared(claims), ...free(claims, freeSector));
  return { entries, freeSector, uncleanShutdown: file.readUInt32LE(1648), problems };
}

/** Parts that the next allocation would overwrite. */
function free(claims: readonly Claim[], freeSector: number): string[] {
  return claims
    .filter(({ end }) => end > freeSector)
    .map(
      ({ owner, start }) => `${owner} at sector ${start} is not below free sector ${freeSector}`,
    );
}
