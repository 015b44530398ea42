/**
 * Partition tables: what all kinds have in common, and which of them a disk has. Pure functions over a
 * way to read the disk.
 *
 * A table is data from somebody else. Whatever it says, reading it ends after a bounded number of
 * small reads, and gives partitions that lie inside the disk; what is odd is left out or cut, with a
 * notice. Partitions have the numbers that Linux gives them.
 */
import type { BlockDevice } from '../block/block-device.js';
import { readAppleMap } from './apple-map.js';
import { readBsdLabel } from './bsd-label.js';
import { readGpt } from './gpt.js';
import { readMbr, type Mbr } from './mbr.js';
import { PARTITIONS_MAX, type ByteRange, type Partition, type ReadDisk } from './partition.js';
import { readSunLabel } from './solaris-label.js';

/** The kinds by libblkid's names. */
export type TableKind = 'dos' | 'gpt' | 'sun' | 'mac' | 'bsd';

export interface PartitionTable {
  /** Undefined where the disk has no table. */
  readonly kind: TableKind | undefined;
  /** In the order of their numbers. */
  readonly partitions: readonly Partition[];
  /** What is odd about the table, a sentence each. */
  readonly notices: readonly string[];
  /** Where the table is; a write elsewhere does not change what was read. */
  readonly places: readonly ByteRange[];
}

const SECTOR = 512;

/** Most oddities of one table that are told one by one. */
const NOTICES_MAX = 20;

/** What every disk has its tables in, whichever they are: so much at its start and at its end. */
const EDGE_BYTES = 32 * 1024;

/** What a reader of one kind of table has found. */
interface Found {
  readonly kind: TableKind | undefined;
  readonly partitions: readonly Partition[];
  readonly notices: readonly string[];
  /** Where the table is, beside the ends of the disk. */
  readonly places: readonly ByteRange[];
}

/**
 * Reads the partition table of a disk of `size` bytes. Where it has several, libblkid's order decides.
 *
 * @throws what `read` throws
 */
export function readPartitionTable(read: ReadDisk, size: number): PartitionTable {
  const edges = [
    { start: 0, end: Math.min(size, EDGE_BYTES) },
    { start: Math.max(0, size - EDGE_BYTES), end: size },
  ];
  const found = findTable(read, size);
  if (found === undefined) return { kind: undefined, partitions: [], notices: [], places: edges };
  const { kind, places } = found;
  return { kind, ...checked(found.partitions, found.notices, size), places: [...edges, ...places] };
}

function findTable(read: ReadDisk, size: number): Found | undefined {
  if (size < SECTOR) return undefined;
  const sector = read(0, SECTOR);
  const sun = readSunLabel(sector);
  if (sun !== undefined) return { kind: 'sun', partitions: sun, notices: [], places: [] };
  const mbr = readMbr(read, size);
  if (mbr !== undefined) return dosOrGpt(mbr, read, size);
  const map = readAppleMap(sector, read, size);
  if (map !== undefined) {
    const places = [{ start: 0, end: Math.min(map.end, size) }];
    return { kind: 'mac', partitions: map.partitions, notices: [], places };
  }
  const notices: string[] = [];
  const whole = { start: 0, size, number: undefined, isFreeBsd: false };
  const bsd = readBsdLabel(read, whole, 1, notices);
  return bsd === undefined ? undefined : { kind: 'bsd', partitions: bsd, notices, places: [] };
}

function dosOrGpt(mbr: Mbr, read: ReadDisk, size: number): Found {
  const { notices, partitions, places } = mbr;
  const gpt = mbr.isProtective ? readGpt(read, size) : undefined;
  if (gpt !== undefined) return { ...gpt, kind: 'gpt' };
  if (mbr.isProtective) {
    notices.push('the DOS table announces a GPT, of which neither header is good');
  }
  const isEmpty = mbr.isProtective && partitions.length === 0;
  return { kind: isEmpty ? undefined : 'dos', partitions, notices, places };
}

/** The partitions as they lie on a disk of `size` bytes, by number. */
function checked(
  found: readonly Partition[],
  notices: readonly string[],
  size: number,
): Pick<PartitionTable, 'notices' | 'partitions'> {
  const told = [...notices];
  const inside: Partition[] = [];
  for (const partition of found) {
    if (partition.start >= size) {
      told.push(`partition ${partition.number} begins past the end of the disk and is left out`);
    } else if (partition.size > size - partition.start) {
      told.push(`partition ${partition.number} ends past the end of the disk and is cut there`);
      inside.push({ ...partition, size: size - partition.start });
    } else inside.push(partition);
  }
  if (inside.length > PARTITIONS_MAX) {
    told.push(`only the first ${PARTITIONS_MAX} of ${inside.length} partitions are used`);
  }
  const partitions = inside.slice(0, PARTITIONS_MAX).sort((a, b) => a.number - b.number);
  return { partitions, notices: few([...told, ...overlaps(partitions)]) };
}

/**
 * Reads the partition table of a disk.
 *
 * @throws what reading the disk throws
 */
export function partitionTableOf(device: BlockDevice): PartitionTable {
  return readPartitionTable((offset, length) => {
    const bytes = new Uint8Array(length);
    device.read(bytes, 0, length, offset);
    return bytes;
  }, device.size);
}

function few(notices: readonly string[]): string[] {
  const more = notices.length - NOTICES_MAX;
  return [...notices.slice(0, NOTICES_MAX), ...(more > 0 ? [`and ${more} more of this kind`] : [])];
}

/** Whether a partition holds others: those of its own table, or of a label that stands for all of it. */
function holdsOthers(partition: Partition, all: readonly Partition[]): boolean {
  if (partition.isContainer || all.some(({ parent }) => parent === partition.number)) return true;
  const parent = all.find(({ number }) => number === partition.parent);
  return parent?.start === partition.start && parent.size === partition.size;
}

function overlaps(partitions: readonly Partition[]): string[] {
  const notices: string[] = [];
  const data = partitions.filter((partition) => !holdsOthers(partition, partitions));
  const sorted = data.sort((a, b) => a.start - b.start);
  let last: Partition | undefined;
  for (const partition of sorted) {
    if (last !== undefined && partition.start < last.start + last.size) {
      notices.push(`partitions ${last.number} and ${partition.number} overlap`);
    }
    if (last === undefined || partition.start + partition.size > last.start + last.size) {
      last = partition;
    }
  }
  return notices;
}
