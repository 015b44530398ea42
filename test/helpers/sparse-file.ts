/**
 * Hosted sparse extents written and read from the format's facts alone, with literal offsets:
 * nothing of the product's own encoder or decoder, so that the two check each other.
 */
import { closeSync, openSync, readSync, statSync, writeFileSync } from 'node:fs';
import { pastTheEnd, shared, type Claim } from './claims.js';

const SECTOR = 512;
const READ_BYTES = 64 * 1024 * 1024;

export interface SparseShape {
  /** Size of the disk in sectors. */
  readonly sectors: number;
  readonly grainSectors: number;
  readonly tableEntries: number;
  readonly version?: number;
  readonly flags?: number;
  /** Without tables every directory entry is 0. */
  readonly withTables?: boolean;
  /** Embedded behind the header; without one the file is an extent of a split disk. */
  readonly descriptor?: string;
}

const up = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Where the parts of an extent lie, in sectors; directories in the order of the file. */
interface Places {
  readonly tables: number;
  readonly directorySectors: number;
  readonly tableSectors: number;
  readonly directories: readonly number[];
  readonly overHead: number;
}

function placesOf(shape: SparseShape): Places {
  const grains = Math.ceil(shape.sectors / shape.grainSectors);
  const tables = Math.ceil(grains / shape.tableEntries);
  const directorySectors = Math.ceil((tables * 4) / SECTOR);
  const tableSectors = Math.ceil((shape.tableEntries * 4) / SECTOR);
  const copySectors = directorySectors + (shape.withTables === false ? 0 : tables * tableSectors);
  const first = shape.descriptor === undefined ? 1 : 21;
  const hasRedundant = ((shape.flags ?? 3) & 2) !== 0;
  const directories = hasRedundant ? [first, first + copySectors] : [first];
  const end = (directories.at(-1) ?? first) + copySectors;
  return {
    tables,
    directorySectors,
    tableSectors,
    directories,
    overHead: up(end, shape.grainSectors),
  };
}

/** Writes an empty extent: header, descriptor, redundant directory and tables, directory and tables. */
export function writeSparseFile(path: string, shape: SparseShape): void {
  const places = placesOf(shape);
  const [rgd = 0] = places.directories.length === 2 ? places.directories : [];
  const file = Buffer.alloc(places.overHead * SECTOR);
  file.write('KDMV', 0, 'latin1');
  file.writeUInt32LE(shape.version ?? 1, 4);
  file.writeUInt32LE(shape.flags ?? 3, 8);
  file.writeBigUInt64LE(BigInt(shape.sectors), 12);
  file.writeBigUInt64LE(BigInt(shape.grainSectors), 20);
  if (shape.descriptor !== undefined) {
    file.writeBigUInt64LE(1n, 28);
    file.writeBigUInt64LE(20n, 36);
    file.write(shape.descriptor, SECTOR, 'utf8');
  }
  file.writeUInt32LE(shape.tableEntries, 44);
  file.writeBigUInt64LE(BigInt(rgd), 48);
  file.writeBigUInt64LE(BigInt(places.directories.at(-1) ?? 0), 56);
  file.writeBigUInt64LE(BigInt(places.overHead), 64);
  file.write('\n \r\n', 73, 'latin1');
  if (shape.withTables !== false) writeDirectories(file, places);
  writeFileSync(path, file);
}

function writeDirectories(file: Buffer, places: Places): void {
  for (const directory of places.directories) {
    for (let table = 0; table < places.tables; table++) {
      const place = directory + places.directorySectors + table * places.tableSectors;
      file.writeUInt32LE(place, directory * SECTOR + table * 4);
    }
  }
}

/** What an extent's tables say, and everything that is wrong with them, in words. */
export interface SparseFacts {
  readonly uncleanShutdown: number;
  /** The table entry of each grain. */
  readonly entries: readonly number[];
  readonly problems: readonly string[];
}

/** Reads an extent's tables and checks them as another program would. */
export function inspectSparseFile(path: string): SparseFacts {
  return inspectSparse(contentOf(path));
}

/** What is in a file, also where it is larger than 2 GiB, which Node reads no more at once. */
function contentOf(path: string): Buffer {
  const file = Buffer.alloc(statSync(path).size);
  const fd = openSync(path, 'r');
  try {
    let at = 0;
    for (let read = 1; read > 0; at += read) {
      read = readSync(fd, file, at, Math.min(READ_BYTES, file.length - at), at);
    }
  } finally {
    closeSync(fd);
  }
  return file;
}

/** One directory and the tables that it leads to. */
interface Copy {
  readonly name: string;
  readonly entries: Uint32Array;
  /** The directory and the tables. */
  readonly claims: readonly Claim[];
}

/** The same for the bytes of a file. */
export function inspectSparse(file: Buffer): SparseFacts {
  const field = (at: number): number => Number(file.readBigUInt64LE(at));
  const grainSectors = field(20);
  const grains = Math.ceil(field(12) / grainSectors);
  const copies = [readCopy(file, 'primary', field(56), grains)];
  if ((file.readUInt32LE(8) & 2) !== 0) {
    copies.push(readCopy(file, 'redundant', field(48), grains));
  }
  const uncleanShutdown = file.readUInt8(72);
  const metadata = [
    { owner: 'the header', start: 0, end: 1 },
    { owner: 'the descriptor', start: field(28), end: field(28) + field(36) },
    ...copies.flatMap(({ claims }) => claims),
  ];
  const { problems, claims } = claimGrains(copies, grainSectors, file.length);
  problems.push(...pastTheEnd(metadata, file.length), ...shared([...metadata, ...claims]));
  problems.push(...differences(copies, uncleanShutdown));
  return { uncleanShutdown, entries: [...(copies[0]?.entries ?? [])], problems };
}

function readCopy(file: Buffer, name: string, directory: number, grains: number): Copy {
  const tableEntries = file.readUInt32LE(44);
  const tables = Math.ceil(grains / tableEntries);
  const length = Math.ceil((tables * 4) / SECTOR);
  const claims = [{ owner: `the ${name} directory`, start: directory, end: directory + length }];
  const entries = new Uint32Array(grains);
  for (let table = 0; table < tables; table++) {
    const start = file.readUInt32LE(directory * SECTOR + table * 4);
    if (start === 0) continue;
    const end = start + (tableEntries * 4) / SECTOR;
    claims.push({ owner: `${name} table ${table}`, start, end });
    const first = table * tableEntries;
    const count = Math.min(tableEntries, grains - first);
    if (start * SECTOR + count * 4 > file.length) continue;
    for (let index = 0; index < count; index++) {
      entries[first + index] = file.readUInt32LE(start * SECTOR + index * 4);
    }
  }
  return { name, entries, claims };
}

/** The grains' places, those that both copies name once. The last may be cut short by the end. */
function claimGrains(
  copies: readonly Copy[],
  grainSectors: number,
  fileBytes: number,
): { problems: string[]; claims: Claim[] } {
  const problems: string[] = [];
  const claims: Claim[] = [];
  const owners = new Map<number, number>();
  for (const { entries, name } of copies) {
    entries.forEach((entry, grain) => {
      if (entry < 2) return;
      const owner = owners.get(entry);
      if (owner === grain) return;
      if (owner !== undefined) problems.push(`grains ${owner} and ${grain} share sector ${entry}`);
      owners.set(entry, grain);
      if (entry % grainSectors !== 0) problems.push(`grain ${grain} is not aligned: ${entry}`);
      if (entry * SECTOR >= fileBytes) problems.push(`grain ${grain} begins past the end`);
      const end = entry + grainSectors;
      if (owner === undefined) claims.push({ owner: `${name} grain ${grain}`, start: entry, end });
    });
  }
  return { problems, claims };
}

/** Entries in which the copies differ; after a crash one of them may lack what the other has. */
function differences([primary, redundant]: readonly Copy[], uncleanShutdown: number): string[] {
  const problems: string[] = [];
  redundant?.entries.forEach((entry, grain) => {
    const other = primary?.entries[grain] ?? 0;
    if (entry === other || (uncleanShutdown !== 0 && Math.min(entry, other) < 2)) return;
    problems.push(`grain ${grain}: ${other} in the primary, ${entry} in the redundant table`);
  });
  return problems;
}
