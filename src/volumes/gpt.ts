/**
 * GUID partition tables (UEFI specification, chapter 5): a header in sector 1 and one in the last
 * sector, each with a checksum and the place of its own array of entries. Sectors are of 512 or 4096
 * bytes; the place of the header tells which.
 */
import { crc32 } from 'node:zlib';
import { bytes, struct, u32, u64, viewOf } from '../binary/struct.js';
import { plainPartition, type ByteRange, type Partition, type ReadDisk } from './partition.js';
import { gptTypeName } from './partition-types.js';

const SECTOR_SIZES = [512, 4096] as const;

const Header = struct('gpt_header', 92, {
  signature: bytes(8),
  revision: u32,
  headerBytes: u32,
  headerCrc: u32,
  reserved: u32,
  ownSector: u64,
  otherSector: u64,
  firstUsable: u64,
  lastUsable: u64,
  disk: bytes(16),
  entriesSector: u64,
  entryCount: u32,
  entryBytes: u32,
  entriesCrc: u32,
});

const Entry = struct('gpt_entry', 128, {
  type: bytes(16),
  identity: bytes(16),
  first: u64,
  last: u64,
  // The lower half: bits 0 to 2 are for all types.
  attributes: u32,
  typeAttributes: u32,
  label: bytes(72),
});

const SIGNATURE = 'EFI PART';
const LEGACY_BOOTABLE = 1 << 2;

/** Most bytes of an array of entries; usual are 16 KiB. */
const ENTRIES_BYTES_MAX = 1024 * 1024;

export interface Gpt {
  readonly partitions: Partition[];
  readonly notices: string[];
  /** Where headers and entries are. */
  readonly places: ByteRange[];
}

/** A header whose checksums are right, and its entries. */
interface Copy {
  readonly entries: Uint8Array;
  readonly entryBytes: number;
  readonly places: readonly ByteRange[];
}

/** Undefined where neither header is good. */
export function readGpt(read: ReadDisk, size: number): Gpt | undefined {
  for (const sectorBytes of SECTOR_SIZES) {
    const copy = readCopy(read, size, sectorBytes, 1);
    if (copy !== undefined) return gptOf(copy, sectorBytes, []);
  }
  for (const sectorBytes of SECTOR_SIZES) {
    const copy = readCopy(read, size, sectorBytes, Math.floor(size / sectorBytes) - 1);
    if (copy === undefined) continue;
    return gptOf(copy, sectorBytes, [
      'the first GPT is damaged; the one at the end of the disk is used',
    ]);
  }
  return undefined;
}

function gptOf(copy: Copy, sectorBytes: number, notices: string[]): Gpt {
  const gpt: Gpt = { partitions: [], notices, places: [...copy.places] };
  const view = viewOf(copy.entries);
  for (let base = 0; base < view.byteLength; base += copy.entryBytes) {
    const type = guidAt(view, base + Entry.type.offset);
    if (type === NO_TYPE) continue;
    const number = base / copy.entryBytes + 1;
    const first = Entry.first.get(view, base);
    const sectors = Entry.last.get(view, base) - first + 1;
    if (sectors <= 0) {
      notices.push(`partition ${number} ends before it begins and is left out`);
      continue;
    }
    const partition = plainPartition({
      number,
      start: first * sectorBytes,
      size: sectors * sectorBytes,
      type,
      typeName: gptTypeName(type),
    });
    gpt.partitions.push({
      ...partition,
      label: labelAt(copy.entries, base + Entry.label.offset),
      bootable: (Entry.attributes.get(view, base) & LEGACY_BOOTABLE) !== 0,
    });
  }
  return gpt;
}

/** The table whose header is in `sector`; undefined where it is not right. */
function readCopy(
  read: ReadDisk,
  size: number,
  sectorBytes: number,
  sector: number,
): Copy | undefined {
  const start = sector * sectorBytes;
  if (sector < 1 || start + sectorBytes > size) return undefined;
  const header = read(start, sectorBytes);
  const view = viewOf(header);
  if (!isHeader(header, view) || Header.ownSector.get(view, 0) !== sector) return undefined;
  const entryBytes = Header.entryBytes.get(view, 0);
  const entriesLength = Header.entryCount.get(view, 0) * entryBytes;
  const entriesStart = Header.entriesSector.get(view, 0) * sectorBytes;
  if (entryBytes < Entry.byteLength || entryBytes % 8 !== 0) return undefined;
  if (entriesLength > ENTRIES_BYTES_MAX || entriesStart + entriesLength > size) return undefined;
  const entries = entriesLength === 0 ? new Uint8Array(0) : read(entriesStart, entriesLength);
  if (crc32(entries) !== Header.entriesCrc.get(view, 0)) return undefined;
  const places = [
    { start, end: start + sectorBytes },
    { start: entriesStart, end: entriesStart + entriesLength },
  ];
  return { entries, entryBytes, places };
}

/** Whether a sector begins with a header whose own checksum is right. */
function isHeader(sector: Uint8Array, view: DataView): boolean {
  if (Buffer.from(sector.subarray(0, 8)).toString('latin1') !== SIGNATURE) return false;
  const length = Header.headerBytes.get(view, 0);
  if (length < Header.byteLength || length > sector.length) return false;
  const zeroed = new Uint8Array(sector.subarray(0, length));
  Header.headerCrc.set(viewOf(zeroed), 0, 0);
  return crc32(zeroed) === Header.headerCrc.get(view, 0);
}

const NO_TYPE = '00000000-0000-0000-0000-000000000000';

/** A GUID as text: the first three groups are little-endian numbers, the others plain bytes. */
function guidAt(view: DataView, base: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const byte = (index: number): string => hex(view.getUint8(base + index), 2);
  return [
    hex(view.getUint32(base, true), 8),
    hex(view.getUint16(base + 4, true), 4),
    hex(view.getUint16(base + 6, true), 4),
    byte(8) + byte(9),
    [10, 11, 12, 13, 14, 15].map(byte).join(''),
  ]
    .join('-')
    .toUpperCase();
}

/** UTF-16, up to the first NUL. */
function labelAt(entries: Uint8Array, base: number): string {
  const text = Buffer.from(entries.subarray(base, base + Entry.label.size)).toString('utf16le');
  return text.split('\0', 1)[0] ?? '';
}
