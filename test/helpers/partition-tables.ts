/** Partition tables made byte by byte, from the specifications; nothing here knows the readers. */
import { crc32 } from 'node:zlib';

const SECTOR = 512;

/** An entry of a DOS table; start and sectors as they stand in it. */
export interface DosEntry {
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
  readonly indicator?: number;
}

/** Writes a DOS table into sector `sector` of `disk`. */
export function putDosTable(disk: Buffer, sector: number, entries: readonly DosEntry[]): void {
  const base = sector * SECTOR;
  entries.forEach(({ indicator = 0, sectors, start, type }, index) => {
    const entry = base + 446 + index * 16;
    disk[entry] = indicator;
    disk[entry + 4] = type;
    disk.writeUInt32LE(start, entry + 8);
    disk.writeUInt32LE(sectors, entry + 12);
  });
  disk[base + 510] = 0x55;
  disk[base + 511] = 0xaa;
}

/** An entry of a GPT. */
export interface GptEntry {
  /** Number of the partition, from 1. */
  readonly number: number;
  /** In capitals. */
  readonly type: string;
  readonly first: number;
  readonly last: number;
  readonly label?: string;
  readonly attributes?: number;
}

/** What of a GPT is not as usual. */
export interface GptOddities {
  readonly sectorBytes?: number;
  readonly entryBytes?: number;
  readonly entryCount?: number;
  readonly entriesSector?: number;
  readonly headerBytes?: number;
}

/** Writes both copies of a GPT, with a protective DOS table, onto `disk`. */
export function putGpt(
  disk: Buffer,
  entries: readonly GptEntry[],
  oddities: GptOddities = {},
): void {
  const { sectorBytes = SECTOR, entryBytes = 128, entryCount = 128 } = oddities;
  const sectors = disk.length / sectorBytes;
  putDosTable(disk, 0, [{ type: 0xee, start: 1, sectors: sectors - 1 }]);
  const array = gptEntries(entries, entryBytes, Math.min(entryCount, 1024));
  const arraySectors = Math.ceil(array.length / sectorBytes);
  const copies = [
    [1, sectors - 1, oddities.entriesSector ?? 2],
    [sectors - 1, 1, sectors - 1 - arraySectors],
  ] as const;
  for (const [own, other, at] of copies) {
    if ((at + arraySectors) * sectorBytes <= disk.length) array.copy(disk, at * sectorBytes);
    const header = disk.subarray(own * sectorBytes, (own + 1) * sectorBytes);
    header.write('EFI PART', 0, 'latin1');
    header.writeUInt32LE(0x10000, 8);
    header.writeUInt32LE(oddities.headerBytes ?? 92, 12);
    header.writeBigUInt64LE(BigInt(own), 24);
    header.writeBigUInt64LE(BigInt(other), 32);
    header.writeBigUInt64LE(BigInt(at), 72);
    header.writeUInt32LE(entryCount, 80);
    header.writeUInt32LE(entryBytes, 84);
    header.writeUInt32LE(crc32(array), 88);
    sealGptHeader(header);
  }
}

/** Puts the checksum of a header right. */
export function sealGptHeader(header: Buffer): void {
  header.writeUInt32LE(0, 16);
  const length = Math.min(header.length, header.readUInt32LE(12));
  header.writeUInt32LE(crc32(header.subarray(0, length)), 16);
}

function gptEntries(entries: readonly GptEntry[], entryBytes: number, count: number): Buffer {
  const array = Buffer.alloc(entryBytes * count);
  for (const { attributes = 0, first, label = '', last, number, type } of entries) {
    const entry = array.subarray((number - 1) * entryBytes, number * entryBytes);
    const [a = '', b = '', c = '', d = '', e = ''] = type.split('-');
    entry.writeUInt32LE(parseInt(a, 16), 0);
    entry.writeUInt16LE(parseInt(b, 16), 4);
    entry.writeUInt16LE(parseInt(c, 16), 6);
    entry.write(d + e, 8, 'hex');
    entry.fill(number, 16, 32);
    entry.writeBigUInt64LE(BigInt(first), 32);
    entry.writeBigUInt64LE(BigInt(last), 40);
    entry.writeUInt32LE(attributes, 48);
    entry.write(label, 56, 'utf16le');
  }
  return array;
}
