/**
 * Where the structures of a file lie, found by its first bytes and with the offsets of the formats'
 * descriptions: fields by name, stretches of metadata, descriptors, headers of archives.
 */
const SECTOR = 512;

/** A number in a file; its offset and size in bytes. */
export interface Field {
  readonly file: string;
  readonly name: string;
  readonly at: number;
  readonly size: 1 | 2 | 4 | 8;
}

/** A stretch of a file in bytes. */
export interface Stretch {
  readonly file: string;
  readonly at: number;
  readonly length: number;
}

/** A descriptor: all of a file, or where it has `room` in it. */
export interface TextPlace {
  readonly file: string;
  readonly at: number;
  readonly room: number | undefined;
  readonly text: string;
}

export interface SeedPlaces {
  readonly fields: readonly Field[];
  readonly metadata: readonly Stretch[];
  /** Compressed data. */
  readonly compressed: readonly Stretch[];
  readonly texts: readonly TextPlace[];
  /** Headers of archives, and what records hold. */
  readonly tarHeaders: readonly Stretch[];
  readonly tarRecords: readonly Stretch[];
  readonly files: readonly { readonly name: string; readonly length: number }[];
}

type Layout = readonly (readonly [name: string, at: number, size: Field['size']])[];

const HOSTED: Layout = [
  ['magicNumber', 0, 4],
  ['version', 4, 4],
  ['flags', 8, 4],
  ['capacity', 12, 8],
  ['grainSize', 20, 8],
  ['descriptorOffset', 28, 8],
  ['descriptorSize', 36, 8],
  ['numGTEsPerGT', 44, 4],
  ['rgdOffset', 48, 8],
  ['gdOffset', 56, 8],
  ['overHead', 64, 8],
  ['uncleanShutdown', 72, 1],
  ['newlines', 73, 4],
  ['compressAlgorithm', 77, 2],
];

const COWD: Layout = [
  ...['magic', 'version', 'flags', 'numSectors', 'grainSize', 'gdOffset', 'numGDEntries'].map(
    (name, index) => [name, index * 4, 4] as const,
  ),
  ['freeSector', 28, 4],
  ['parentFileName', 32, 4],
  ['parentGeneration', 1056, 4],
  ['generation', 1060, 4],
  ['uncleanShutdown', 1648, 4],
];

const SESPARSE: Layout = [
  ...Array.from({ length: 26 }, (_, index) => [`word ${index}`, index * 8, 8] as const),
  ...Array.from({ length: 4 }, (_, index) => [`volatile ${index}`, 512 + index * 8, 8] as const),
  ...Array.from({ length: 3 }, (_, index) => [`journal ${index}`, 1024 + index * 8, 8] as const),
  ['pad', 208, 4],
];

const MARKER: Layout = [
  ['marker value', 0, 8],
  ['marker size', 8, 4],
  ['marker type', 12, 4],
];

/** Entries of a table or directory that are fields of their own, from its start. */
const ENTRIES_MAX = 6;

class Finder {
  readonly fields: Field[] = [];
  readonly metadata: Stretch[] = [];
  readonly compressed: Stretch[] = [];
  readonly texts: TextPlace[] = [];
  readonly tarHeaders: Stretch[] = [];
  readonly tarRecords: Stretch[] = [];
  readonly #file: string;
  readonly #bytes: Buffer;

  constructor(file: string, bytes: Buffer) {
    this.#file = file;
    this.#bytes = bytes;
  }

  /** Looks at `length` bytes from `base` on as a file of their own. */
  look(base: number, length: number): void {
    const head = this.#bytes.toString('latin1', base, base + 300);
    if (head.startsWith('KDMV')) this.#hosted(base, length);
    else if (head.startsWith('COWD')) this.#cowd(base);
    else if (head.startsWith('\xbe\xba\xfe\xca\0\0\0\0')) this.#seSparse(base);
    else if (head.startsWith('# Disk')) {
      const isWhole = base === 0 && length === this.#bytes.length;
      this.#text(base, isWhole ? undefined : length, length);
    } else if (head.slice(257, 262) === 'ustar') this.#archive();
  }

  #u32(at: number): number {
    return at + 4 <= this.#bytes.length ? this.#bytes.readUInt32LE(at) : 0;
  }

  #u64(at: number): number {
    return at + 8 <= this.#bytes.length ? Number(this.#bytes.readBigUInt64LE(at)) : 0;
  }

  #layout(layout: Layout, base: number, length: number): void {
    for (const [name, at, size] of layout) {
      this.fields.push({ file: this.#file, name, at: base + at, size });
    }
    this.metadata.push({ file: this.#file, at: base, length });
  }

  #text(at: number, room: number | undefined, length: number): void {
    const all = this.#bytes.toString('latin1', at, at + length);
    const text = all.split('\0', 1)[0] ?? '';
    this.texts.push({ file: this.#file, at, room, text });
    this.metadata.push({ file: this.#file, at, length: text.length });
  }

  #entries(name: string, at: number, count: number, size: 4 | 8): number[] {
    const values: number[] = [];
    let used = 0;
    for (let index = 0; index < count; index++) {
      const place = at + index * size;
      const value = size === 4 ? this.#u32(place) : this.#u64(place);
      values.push(value);
      if (value !== 0) used += 1;
      const isField = index < 2 || index === count - 1 || (value !== 0 && used <= ENTRIES_MAX);
      if (isField)
        this.fields.push({ file: this.#file, name: `${name} ${index}`, at: place, size });
    }
    this.metadata.push({ file: this.#file, at, length: count * size });
    return values;
  }

  #hosted(base: number, length: number): void {
    this.#layout(HOSTED, base, SECTOR);
    const footer = base + length - 2 * SECTOR;
    const flags = this.#u32(base + 8);
    const isStream = (flags & 0x10000) !== 0;
    const room = this.#u64(base + 36) * SECTOR;
    if (room > 0) this.#text(base + this.#u64(base + 28) * SECTOR, room, room);
    let header = base;
    if (isStream && this.#bytes.toString('latin1', footer, footer + 4) === 'KDMV') {
      header = footer;
      this.#layout(HOSTED, footer, SECTOR);
      this.#layout(MARKER, footer - SECTOR, 16);
      this.#layout(MARKER, footer + SECTOR, 16);
    }
    const tables = Math.ceil(
      this.#u64(base + 12) / this.#u64(base + 20) / Math.max(1, this.#u32(base + 44)),
    );
    const directories = [56, ...((flags & 2) === 0 ? [] : [48])];
    for (const field of directories) {
      const directory = this.#u64(header + field);
      if (directory === 0 || directory > 2 ** 32) continue;
      const at = base + directory * SECTOR;
      const places = this.#entries(`directory@${field}`, at, tables, 4);
      places.forEach((sector, table) => {
        if (sector === 0) return;
        const count = this.#u32(base + 44);
        const start = base + sector * SECTOR;
        const grains = this.#entries(`table@${field} ${table}`, start, count, 4);
        if (isStream) for (const grain of grains) this.#grain(base, grain);
      });
    }
  }

  /** What leads a compressed grain, and its data. */
  #grain(base: number, sector: number): void {
    if (sector < 2) return;
    const at = base + sector * SECTOR;
    if (this.compressed.length < 12) this.#layout(MARKER.slice(0, 2), at, 12);
    this.compressed.push({ file: this.#file, at, length: 12 + this.#u32(at + 8) });
  }

  #cowd(base: number): void {
    this.#layout(COWD, base, 2048);
    const directory = base + this.#u32(base + 20) * SECTOR;
    const tables = this.#entries('directory', directory, this.#u32(base + 24), 4);
    tables.forEach((sector, table) => {
      if (sector > 0) this.#entries(`table ${table}`, base + sector * SECTOR, 4096, 4);
    });
  }

  #seSparse(base: number): void {
    this.#layout(SESPARSE, base, 1056);
    const offset = (at: number): number => base + this.#u64(base + at) * SECTOR;
    const tables = Math.ceil((this.#u64(base + 16) * SECTOR) / 4096 / 4096);
    this.#entries('directory', offset(128), tables, 8).forEach((entry, table) => {
      if (entry === 0) return;
      const start = offset(144) + (entry % 2 ** 32) * 32768;
      this.#entries(`table ${table}`, start, 4096, 8);
    });
    this.#entries('bitmap', offset(160), 4, 4);
    this.#entries('backmap', offset(176), 8, 8);
  }

  #archive(): void {
    for (let at = 0; at + SECTOR <= this.#bytes.length; at += SECTOR) {
      if (this.#bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
      this.tarHeaders.push({ file: this.#file, at, length: SECTOR });
      this.metadata.push({ file: this.#file, at, length: SECTOR });
      const next = at + SECTOR;
      const kind = this.#bytes.toString('latin1', at + 156, at + 157);
      if (kind !== '0') this.tarRecords.push({ file: this.#file, at: next, length: 100 });
      else this.look(next, this.#endOfMember(next) - next);
    }
  }

  /** Where the next header begins, or the end of the archive. */
  #endOfMember(start: number): number {
    for (let at = start; at + SECTOR <= this.#bytes.length; at += SECTOR) {
      if (this.#bytes.toString('latin1', at + 257, at + 262) === 'ustar') return at;
    }
    return this.#bytes.length - 2 * SECTOR;
  }
}

/** The places of all files of a seed. */
export function placesOf(files: readonly { name: string; bytes: Buffer }[]): SeedPlaces {
  const finders = files.map(({ name, bytes }) => {
    const finder = new Finder(name, bytes);
    finder.look(0, bytes.length);
    return finder;
  });
  return {
    fields: finders.flatMap(({ fields }) => fields),
    metadata: finders.flatMap(({ metadata }) => metadata),
    compressed: finders.flatMap(({ compressed }) => compressed),
    texts: finders.flatMap(({ texts }) => texts),
    tarHeaders: finders.flatMap(({ tarHeaders }) => tarHeaders),
    tarRecords: finders.flatMap(({ tarRecords }) => tarRecords),
    files: files.map(({ name, bytes }) => ({ name, length: bytes.length })),
  };
}
