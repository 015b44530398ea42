/**
 * The tables that Solaris leaves: the VTOC in the second sector of its slice on a PC, and Sun's own
 * label in the first sector of a whole disk, which is big-endian. Numbers are those of Linux.
 */
import { bytes, struct, u16, u32, viewOf } from '../binary/struct.js';
import { hexByte, type Slice } from './bsd-label.js';
import { plainPartition, type Partition, type ReadDisk } from './partition.js';
import { solarisTypeName } from './partition-types.js';

const SECTOR = 512;

/** `struct solaris_x86_vtoc` up to its slices. */
const Vtoc = struct('solaris_x86_vtoc', 72, {
  bootInfo: bytes(12),
  sanity: u32,
  version: u32,
  volume: bytes(8),
  sectorBytes: u16,
  sliceCount: u16,
  reserved: bytes(40),
});

const VtocSlice = struct('solaris_x86_slice', 12, {
  tag: u16,
  flag: u16,
  start: u32,
  sectors: u32,
});

const SANITY = 0x600d_deee;
const SLICES = 8;
const SLICES_MAX = 16;

/**
 * The partitions of the VTOC in `slice`, numbered from `first` on; undefined where there is none. The
 * one that stands for the whole slice is a partition like the others, as Linux has it.
 */
export function readVtoc(
  read: ReadDisk,
  slice: Slice,
  first: number,
  notices: string[],
): Partition[] | undefined {
  if (slice.size < 2 * SECTOR) return undefined;
  const view = viewOf(read(slice.start + SECTOR, SECTOR));
  if (Vtoc.sanity.get(view, 0) !== SANITY || Vtoc.version.get(view, 0) !== 1) return undefined;
  const count = Vtoc.sliceCount.get(view, 0) > SLICES ? SLICES_MAX : SLICES;
  const partitions: Partition[] = [];
  let number = first;
  for (let index = 0; index < count; index++) {
    const base = Vtoc.byteLength + index * VtocSlice.byteLength;
    const size = VtocSlice.sectors.get(view, base) * SECTOR;
    if (size === 0) continue;
    const start = slice.start + VtocSlice.start.get(view, base) * SECTOR;
    const letter = `s${index}`;
    const own = number++;
    if (start + size > slice.start + slice.size) {
      notices.push(
        `slice ${letter} of the Solaris table ends outside its partition and is left out`,
      );
      continue;
    }
    const tag = VtocSlice.tag.get(view, base);
    const name = { type: hexByte(tag), typeName: solarisTypeName(tag) };
    const partition = plainPartition({ number: own, start, size, ...name });
    partitions.push({ ...partition, letter, parent: slice.number });
  }
  return partitions;
}

const SUN_VTOC_VERSION = 128;
const SUN_VTOC_COUNT = 140;
const SUN_VTOC_TAGS = 142;
const SUN_VTOC_SANITY = 188;
const SUN_HEADS = 436;
const SUN_SECTORS = 438;
const SUN_PARTITIONS = 444;
const SUN_MAGIC_OFFSET = 508;
const SUN_MAGIC = 0xdabe;
const SUN_WHOLE_DISK = 5;

/** The partitions of Sun's label in `sector`, the first of the disk; undefined where it is none. */
export function readSunLabel(sector: Uint8Array): Partition[] | undefined {
  const view = viewOf(sector);
  if (view.getUint16(SUN_MAGIC_OFFSET) !== SUN_MAGIC || checksumOf(view) !== 0) return undefined;
  const cylinder = view.getUint16(SUN_HEADS) * view.getUint16(SUN_SECTORS);
  const vtoc = [SUN_VTOC_SANITY, SUN_VTOC_VERSION].map((offset) => view.getUint32(offset));
  const entries = view.getUint16(SUN_VTOC_COUNT);
  const isVtoc = vtoc[0] === SANITY && vtoc[1] === 1 && entries <= SLICES;
  // Old labels of Linux have tags without the rest of a VTOC.
  const hasTags = isVtoc || [...vtoc, entries].every((field) => field === 0);
  const partitions: Partition[] = [];
  for (let index = 0; index < (isVtoc ? entries : SLICES); index++) {
    const tag = hasTags ? view.getUint16(SUN_VTOC_TAGS + index * 4) : 0;
    const partition = sunPartition(view, index, cylinder, tag);
    if (partition.size > 0 && tag !== SUN_WHOLE_DISK) partitions.push(partition);
  }
  return partitions;
}

/** @param cylinder sectors of one */
function sunPartition(view: DataView, index: number, cylinder: number, tag: number): Partition {
  const base = SUN_PARTITIONS + index * 8;
  const partition = plainPartition({
    number: index + 1,
    start: view.getUint32(base) * cylinder * SECTOR,
    size: view.getUint32(base + 4) * SECTOR,
    type: hexByte(tag),
    typeName: solarisTypeName(tag),
  });
  return { ...partition, letter: `s${index}` };
}

/** Zero where the checksum, the last word, is right. */
function checksumOf(view: DataView): number {
  let sum = 0;
  for (let offset = 0; offset < SECTOR; offset += 2) sum ^= view.getUint16(offset);
  return sum;
}
