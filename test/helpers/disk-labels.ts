/** Labels of other systems than DOS, made byte by byte; nothing here knows the readers. */

const SECTOR = 512;
const BSD_MAGIC = 0x82564557;
const VTOC_SANITY = 0x600ddeee;

/** A partition of a label, in sectors; `null` leaves its place empty. */
export type LabelEntry = {
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
} | null;

/** Writes a BSD disklabel into the sector behind `sector` of `disk`. */
export function putBsdLabel(
  disk: Buffer,
  sector: number,
  entries: readonly LabelEntry[],
  count = entries.length,
): void {
  const base = (sector + 1) * SECTOR;
  disk.writeUInt32LE(BSD_MAGIC, base);
  disk.writeUInt32LE(SECTOR, base + 40);
  disk.writeUInt32LE(BSD_MAGIC, base + 132);
  disk.writeUInt16LE(count, base + 138);
  entries.forEach((entry, index) => {
    if (entry === null) return;
    const at = base + 148 + index * 16;
    disk.writeUInt32LE(entry.sectors, at);
    disk.writeUInt32LE(entry.start, at + 4);
    disk[at + 12] = entry.type;
  });
}

/** Writes a VTOC of Solaris on PCs into the sector behind `sector` of `disk`. */
export function putVtoc(disk: Buffer, sector: number, entries: readonly LabelEntry[]): void {
  const base = (sector + 1) * SECTOR;
  disk.writeUInt32LE(VTOC_SANITY, base + 12);
  disk.writeUInt32LE(1, base + 16);
  disk.writeUInt16LE(SECTOR, base + 28);
  disk.writeUInt16LE(16, base + 30);
  entries.forEach((entry, index) => {
    if (entry === null) return;
    const at = base + 72 + index * 12;
    disk.writeUInt16LE(entry.type, at);
    disk.writeUInt32LE(entry.start, at + 4);
    disk.writeUInt32LE(entry.sectors, at + 8);
  });
}

/** Writes Sun's label, with cylinders of `cylinder` sectors, in which the entries begin. */
export function putSunLabel(
  disk: Buffer,
  cylinder: number,
  entries: readonly LabelEntry[],
  withTags = true,
): void {
  disk.writeUInt16BE(1, 436);
  disk.writeUInt16BE(cylinder, 438);
  if (withTags) {
    disk.writeUInt32BE(1, 128);
    disk.writeUInt16BE(8, 140);
    disk.writeUInt32BE(VTOC_SANITY, 188);
  }
  entries.forEach((entry, index) => {
    if (entry === null) return;
    if (withTags) disk.writeUInt16BE(entry.type, 142 + index * 4);
    disk.writeUInt32BE(entry.start, 444 + index * 8);
    disk.writeUInt32BE(entry.sectors, 448 + index * 8);
  });
  disk.writeUInt16BE(0xdabe, 508);
  let sum = 0;
  for (let at = 0; at < 510; at += 2) sum ^= disk.readUInt16BE(at);
  disk.writeUInt16BE(sum, 510);
}

/** An entry of an Apple map, in blocks. */
export interface AppleEntry {
  readonly name: string;
  readonly type: string;
  readonly start: number;
  readonly blocks: number;
}

/** Writes an Apple partition map of blocks of `blockBytes`. */
export function putAppleMap(
  disk: Buffer,
  entries: readonly AppleEntry[],
  blockBytes = SECTOR,
): void {
  disk.write('ER', 0, 'latin1');
  disk.writeUInt16BE(blockBytes, 2);
  disk.writeUInt32BE(disk.length / blockBytes, 4);
  entries.forEach(({ blocks, name, start, type }, index) => {
    const at = (index + 1) * blockBytes;
    disk.write('PM', at, 'latin1');
    disk.writeUInt32BE(entries.length, at + 4);
    disk.writeUInt32BE(start, at + 8);
    disk.writeUInt32BE(blocks, at + 12);
    disk.write(name, at + 16, 'latin1');
    disk.write(type, at + 48, 'latin1');
  });
}
