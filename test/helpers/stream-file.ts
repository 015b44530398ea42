/**
 * streamOptimized extents of every family that is met, written from the format's facts alone,
 * with literal offsets: nothing of the product's own encoder or decoder.
 */
import { writeFileSync } from 'node:fs';
import { deflateSync } from 'node:zlib';

const SECTOR = 512;
const GD_AT_END = 0xffff_ffff_ffff_ffffn;
const MARKER = { tables: 1, directory: 2, footer: 3, progress: 4 };

/**
 * Who writes such a file:
 * - `footer`: ovftool, VirtualBox. Tables and directory follow the grains, each behind a marker;
 *   the header says "at the end", the footer says where; an end-of-stream sector closes the file.
 * - `footer-patched`: the same, and the header says where as well.
 * - `front`: VixDiskLib, open-vmdk. Directory and tables lie behind the descriptor, without markers
 *   and footer; an end-of-stream sector closes the file.
 * - `qemu`: redundant directory and tables, then the primary ones; nothing behind the grains.
 */
export type StreamFamily = 'footer' | 'footer-patched' | 'front' | 'qemu';

export const STREAM_FAMILIES: readonly StreamFamily[] = [
  'footer',
  'footer-patched',
  'front',
  'qemu',
];

export interface StreamShape {
  readonly family: StreamFamily;
  /** Size of the disk in sectors. */
  readonly sectors: number;
  /** Sectors; 128 if absent. */
  readonly grainSectors?: number;
  /** Entries of a table; 512 if absent. */
  readonly tableEntries?: number;
  /** 3 if absent. */
  readonly version?: number;
  /**
   * Content of grains by their number on the disk. The file holds them in the map's order, those
   * of one table together. Content that is shorter than a grain is padded with zeros.
   */
  readonly grains?: ReadonlyMap<number, Buffer>;
  /** A last grain that the disk cuts off is stored as short as it is, not padded. */
  readonly shortLast?: boolean;
  /** A marker of type 4, which readers skip, before each grain. */
  readonly progressMarkers?: boolean;
  /** Bytes behind the end of the stream. */
  readonly junk?: Uint8Array;
  /**
   * Flag bit 17 is clear: only the length, 4 bytes, precedes the data of a grain. QEMU expects
   * not even that and cannot read such grains.
   */
  readonly withoutMarkerLba?: boolean;
  /** Compression level of zlib, 0 to 9. */
  readonly level?: number;
  /** Embedded behind the header; without one the file is an extent of a split disk. */
  readonly descriptor?: string | undefined;
}

/** Where the parts of a stream lie, in bytes from the start of the file. */
export interface StreamPlaces {
  /** The marker of each grain. */
  readonly grainOffsets: ReadonlyMap<number, number>;
  readonly gdOffset: number;
  /** Each table, by its number; an omitted one has none. */
  readonly tableOffsets: ReadonlyMap<number, number>;
  /** The redundant directory, which only `qemu` has. */
  readonly rgdOffset: number | undefined;
  /** The second header, not its marker; only the footer families have one. */
  readonly footerOffset: number | undefined;
}

/** The descriptor that stream writers embed: one extent, read-only by convention. */
export function streamDescriptor(sectors: number, name: string): string {
  return [
    '# Disk DescriptorFile',
    'version=1',
    'CID=0badcafe',
    'parentCID=ffffffff',
    'createType="streamOptimized"',
    '',
    '# Extent description',
    `RDONLY ${sectors} SPARSE "${name}"`,
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    'ddb.adapterType = "lsilogic"',
    '',
  ].join('\n');
}

const up = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** A shape with everything that follows from it; lengths in sectors. */
interface Plan {
  readonly shape: StreamShape;
  readonly grainSectors: number;
  readonly tableEntries: number;
  readonly tables: number;
  readonly directorySectors: number;
  readonly tableSectors: number;
  readonly descriptorSectors: number;
  readonly hasFooter: boolean;
  /** Directories in front of the grains, primary last; none in the footer families. */
  readonly directories: readonly number[];
  readonly overHead: number;
}

function planOf(shape: StreamShape): Plan {
  const { grainSectors = 128, tableEntries = 512, descriptor } = shape;
  const tables = Math.ceil(Math.ceil(shape.sectors / grainSectors) / tableEntries);
  const directorySectors = Math.ceil((tables * 4) / SECTOR);
  const tableSectors = Math.ceil((tableEntries * 4) / SECTOR);
  const hasFooter = shape.family === 'footer' || shape.family === 'footer-patched';
  const length = Math.ceil(Buffer.byteLength(descriptor ?? '') / SECTOR);
  const descriptorSectors = hasFooter || descriptor === undefined ? length : Math.max(20, length);
  const first = 1 + descriptorSectors;
  const copy = directorySectors + tables * tableSectors;
  const copies = { footer: 0, 'footer-patched': 0, front: 1, qemu: 2 }[shape.family];
  return {
    shape,
    grainSectors,
    tableEntries,
    tables,
    directorySectors,
    tableSectors,
    descriptorSectors,
    hasFooter,
    directories: [first, first + copy].slice(0, copies),
    overHead: up(first + copies * copy, grainSectors),
  };
}

/** A file that grows by whole sectors. */
class Growing {
  readonly #parts: Buffer[] = [];
  /** Bytes. */
  length = 0;

  /** Appends `bytes`, padded to a sector; where they begin, in bytes. */
  append(bytes: Buffer): number {
    const at = this.length;
    const padding = up(bytes.length, SECTOR) - bytes.length;
    this.#parts.push(bytes, Buffer.alloc(padding));
    this.length += bytes.length + padding;
    return at;
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Writes a stream; where its parts are. */
export function writeStreamFile(path: string, shape: StreamShape): StreamPlaces {
  const plan = planOf(shape);
  const file = new Growing();
  file.append(Buffer.alloc(plan.overHead * SECTOR));
  const { grainOffsets, tableOffsets } = appendGrains(file, plan);
  const places = plan.hasFooter
    ? appendTail(file, plan, grainOffsets, tableOffsets)
    : frontPlaces(plan, grainOffsets);
  if (shape.family === 'front') file.append(Buffer.alloc(SECTOR));
  const bytes = file.toBuffer();
  const front = shape.family === 'footer' ? GD_AT_END : BigInt(places.gdOffset / SECTOR);
  headerOf(plan, front).copy(bytes);
  if (shape.descriptor !== undefined) bytes.write(shape.descriptor, SECTOR, 'utf8');
  for (const directory of plan.directories) writeDirectory(bytes, plan, directory, grainOffsets);
  writeFileSync(path, Buffer.concat([bytes, shape.junk ?? Buffer.alloc(0)]));
  return places;
}

/** The header, which in the footer families is also the footer. */
function headerOf(plan: Plan, gdOffset: bigint): Buffer {
  const { shape } = plan;
  const [rgd = 0] = plan.directories.length === 2 ? plan.directories : [];
  const flags =
    0x10001 | (shape.withoutMarkerLba === true ? 0 : 0x20000) | (shape.family === 'qemu' ? 2 : 0);
  const header = Buffer.alloc(SECTOR);
  header.write('KDMV', 0, 'latin1');
  header.writeUInt32LE(shape.version ?? 3, 4);
  header.writeUInt32LE(flags, 8);
  header.writeBigUInt64LE(BigInt(shape.sectors), 12);
  header.writeBigUInt64LE(BigInt(plan.grainSectors), 20);
  header.writeBigUInt64LE(plan.descriptorSectors === 0 ? 0n : 1n, 28);
  header.writeBigUInt64LE(BigInt(plan.descriptorSectors), 36);
  header.writeUInt32LE(plan.tableEntries, 44);
  header.writeBigUInt64LE(BigInt(rgd), 48);
  header.writeBigUInt64LE(gdOffset, 56);
  header.writeBigUInt64LE(BigInt(plan.overHead), 64);
  header.write('\n \r\n', 73, 'latin1');
  header.writeUInt16LE(1, 77);
  return header;
}

function markerOf(type: number, sectors: number): Buffer {
  const marker = Buffer.alloc(SECTOR);
  marker.writeBigUInt64LE(BigInt(sectors), 0);
  marker.writeUInt32LE(type, 12);
  return marker;
}

/** Appends all grains, in the footer families each table behind its own. */
function appendGrains(
  file: Growing,
  plan: Plan,
): { grainOffsets: Map<number, number>; tableOffsets: Map<number, number> } {
  const grainOffsets = new Map<number, number>();
  const tableOffsets = new Map<number, number>();
  const byTable = new Map<number, [number, Buffer][]>();
  for (const [grain, content] of plan.shape.grains ?? []) {
    const table = Math.floor(grain / plan.tableEntries);
    byTable.set(table, [...(byTable.get(table) ?? []), [grain, content]]);
  }
  for (const [table, grains] of [...byTable].sort(([one], [other]) => one - other)) {
    for (const [grain, content] of grains) {
      if (plan.shape.progressMarkers === true) file.append(markerOf(MARKER.progress, 0));
      grainOffsets.set(grain, file.append(grainOf(plan, grain, content)));
    }
    if (!plan.hasFooter) continue;
    file.append(markerOf(MARKER.tables, plan.tableSectors));
    tableOffsets.set(table, file.append(tableOf(plan, table, grainOffsets)));
  }
  return { grainOffsets, tableOffsets };
}

/** A grain with what precedes it. */
function grainOf(plan: Plan, grain: number, content: Buffer): Buffer {
  const first = grain * plan.grainSectors;
  const inDisk = Math.min(plan.grainSectors, plan.shape.sectors - first);
  const full = Buffer.alloc(plan.grainSectors * SECTOR);
  content.copy(full);
  const stored = full.subarray(0, plan.shape.shortLast === true ? inDisk * SECTOR : full.length);
  const data = deflateSync(stored, { level: plan.shape.level ?? 6 });
  const marker = Buffer.alloc(12);
  marker.writeBigUInt64LE(BigInt(first), 0);
  marker.writeUInt32LE(data.length, 8);
  return Buffer.concat([plan.shape.withoutMarkerLba === true ? marker.subarray(8) : marker, data]);
}

function tableOf(plan: Plan, table: number, grainOffsets: ReadonlyMap<number, number>): Buffer {
  const bytes = Buffer.alloc(plan.tableSectors * SECTOR);
  for (const [grain, offset] of grainOffsets) {
    if (Math.floor(grain / plan.tableEntries) !== table) continue;
    bytes.writeUInt32LE(offset / SECTOR, (grain % plan.tableEntries) * 4);
  }
  return bytes;
}

/** Appends directory, footer and end of stream behind the grains. */
function appendTail(
  file: Growing,
  plan: Plan,
  grainOffsets: ReadonlyMap<number, number>,
  tableOffsets: ReadonlyMap<number, number>,
): StreamPlaces {
  const directory = Buffer.alloc(plan.directorySectors * SECTOR);
  for (const [table, offset] of tableOffsets) directory.writeUInt32LE(offset / SECTOR, table * 4);
  file.append(markerOf(MARKER.directory, plan.directorySectors));
  const gdOffset = file.append(directory);
  file.append(markerOf(MARKER.footer, 1));
  const footerOffset = file.append(headerOf(plan, BigInt(gdOffset / SECTOR)));
  file.append(Buffer.alloc(SECTOR));
  return { grainOffsets, gdOffset, tableOffsets, rgdOffset: undefined, footerOffset };
}

function frontPlaces(plan: Plan, grainOffsets: ReadonlyMap<number, number>): StreamPlaces {
  const primary = plan.directories.at(-1) ?? 0;
  const [rgd] = plan.directories.length === 2 ? plan.directories : [];
  const tables = Array.from({ length: plan.tables }, (_, table): [number, number] => [
    table,
    tableSector(plan, primary, table) * SECTOR,
  ]);
  return {
    grainOffsets,
    gdOffset: primary * SECTOR,
    tableOffsets: new Map(tables),
    rgdOffset: rgd === undefined ? undefined : rgd * SECTOR,
    footerOffset: undefined,
  };
}

const tableSector = (plan: Plan, directory: number, table: number): number =>
  directory + plan.directorySectors + table * plan.tableSectors;

/** Writes one directory in front of the grains and all its tables. */
function writeDirectory(
  bytes: Buffer,
  plan: Plan,
  directory: number,
  grainOffsets: ReadonlyMap<number, number>,
): void {
  for (let table = 0; table < plan.tables; table++) {
    const sector = tableSector(plan, directory, table);
    bytes.writeUInt32LE(sector, directory * SECTOR + table * 4);
    tableOf(plan, table, grainOffsets).copy(bytes, sector * SECTOR);
  }
}
