/**
 * Hosted sparse extents written and read from the format's facts alone, with literal offsets:
 * nothing of the product's own encoder or decoder, so that the two check each other.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const SECTOR = 512;

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
  const file = readFileSync(path);
  const sectors = Number(file.readBigUInt64LE(12));
  const grainSectors = Number(file.readBigUInt64LE(20));
  const tableEntries = file.readUInt32LE(44);
  const grains = Math.ceil(sectors / grainSectors);
  const problems: string[] = [];
  const primary = readTables(
    file,
    Number(file.readBigUInt64LE(56)),
    grains,
    tableEntries,
    problems,
  );
  if ((file.readUInt32LE(8) & 2) !== 0) {
    const redundant = readTables(
      file,
      Number(file.readBigUInt64LE(48)),
      grains,
      tableEntries,
      problems,
    );
    primary.forEach((entry, grain) => {
      if (entry !== redundant[grain]) {
        problems.push(
          `grain ${grain}: ${entry} in the primary, ${redundant[grain] ?? -1} in the redundant table`,
        );
      }
    });
  }
  const owners = new Map<number, number>();
  primary.forEach((entry, grain) => {
    if (entry < 2) return;
    if (entry % grainSectors !== 0) problems.push(`grain ${grain} is not aligned: ${entry}`);
    if (entry * SECTOR >= file.length) problems.push(`grain ${grain} begins past the end`);
    const owner = owners.get(entry);
    if (owner !== undefined) problems.push(`grains ${owner} and ${grain} share sector ${entry}`);
    owners.set(entry, grain);
  });
  return { uncleanShutdown: file.readUInt8(72), entries: primary, problems };
}

function readTables(
  file: Buffer,
  directory: number,
  grains: number,
  tableEntries: number,
  problems: string[],
): number[] {
  return Array.from({ length: grains }, (_, grain) => {
    const table = file.readUInt32LE(directory * SECTOR + Math.floor(grain / tableEntries) * 4);
    if (table === 0) return 0;
    const at = table * SECTOR + (grain % tableEntries) * 4;
    if (at + 4 <= file.length) return file.readUInt32LE(at);
    problems.push(`the table of grain ${grain} lies past the end`);
    return 0;
  });
}
