/**
 * BSD disklabels: FreeBSD's, NetBSD's and OpenBSD's, in the second sector of their slice, or of a disk
 * without any other table (`sys/disklabel.h` of each). Which partitions there are, and the place they
 * are counted from, is decided as Linux and libblkid do it.
 */
import { bytes, struct, u16, u32, u8, viewOf } from '../binary/struct.js';
import { plainPartition, type Partition, type ReadDisk } from './partition.js';
import { bsdTypeName } from './partition-types.js';

const SECTOR = 512;

const Label = struct('disklabel', 148, {
  magic: u32,
  before: bytes(128),
  magicAgain: u32,
  checksum: u16,
  partitionCount: u16,
  after: bytes(8),
});

const Entry = struct('disklabel_partition', 16, {
  sectors: u32,
  start: u32,
  fragmentBytes: u32,
  type: u8,
  fragments: u8,
  cylinders: u16,
});

const MAGIC = 0x8256_4557;
const ENTRIES_MAX = 16;
const UNUSED = 0;

/** The partition that stands for the whole slice: `c`. */
const WHOLE = 2;

/** The slice that a label is in; bytes. */
export interface Slice {
  readonly start: number;
  readonly size: number;
  readonly number: number | undefined;
  /** Whether FreeBSD made it, which counts from the slice where others count from the disk. */
  readonly isFreeBsd: boolean;
}

/** Where a label is: the second sector. */
export const LABEL_OFFSET = SECTOR;

/**
 * The partitions of the label in `slice`, numbered from `first` on; undefined where there is none.
 *
 * @param notices gets what is left out
 */
export function readBsdLabel(
  read: ReadDisk,
  slice: Slice,
  first: number,
  notices: string[],
): Partition[] | undefined {
  if (slice.size < 2 * SECTOR) return undefined;
  const sector = read(slice.start + LABEL_OFFSET, SECTOR);
  const view = viewOf(sector);
  if (Label.magic.get(view, 0) !== MAGIC) return undefined;
  const count = Math.min(Label.partitionCount.get(view, 0), ENTRIES_MAX);
  const entryAt = (index: number): number => Label.byteLength + index * Entry.byteLength;
  const wholeStart = Entry.start.get(view, entryAt(WHOLE));
  const base = slice.isFreeBsd && wholeStart === 0 ? slice.start : 0;
  const partitions: Partition[] = [];
  for (let index = 0; index < count; index++) {
    const type = Entry.type.get(view, entryAt(index));
    const size = Entry.sectors.get(view, entryAt(index)) * SECTOR;
    const start = base + Entry.start.get(view, entryAt(index)) * SECTOR;
    if (type === UNUSED || (start === slice.start && size === slice.size)) continue;
    const letter = String.fromCharCode('a'.charCodeAt(0) + index);
    if (size === 0 || start < slice.start || start + size > slice.start + slice.size) {
      notices.push(`partition ${letter} of the BSD label lies outside its slice and is left out`);
      continue;
    }
    const number = first + partitions.length;
    const name = { type: hexByte(type), typeName: bsdTypeName(type) };
    const partition = plainPartition({ number, start, size, ...name });
    partitions.push({ ...partition, letter, parent: slice.number });
  }
  return partitions;
}

/** A type byte as `0x07`. */
export function hexByte(type: number): string {
  return `0x${type.toString(16).padStart(2, '0')}`;
}
