/**
 * Apple partition maps: a block that says how large blocks are, and an entry in each block after it
 * (Inside Macintosh: Devices, chapter 3). All of it is big-endian. Linux shows every entry, the map's
 * own and free space included.
 */
import { viewOf } from '../binary/struct.js';
import { plainPartition, type Partition, type ReadDisk } from './partition.js';

const SECTOR = 512;
const DRIVER_SIGNATURE = 0x4552;
const SIGNATURES: readonly number[] = [0x504d, 0x5453];
const ENTRIES_MAX = 256;
const BLOCK_BYTES_MAX = 4096;

const COUNT = 4;
const START = 8;
const BLOCKS = 12;
const NAME = 16;
const TYPE = 48;
const NAME_BYTES = 32;

/** An Apple map, and where it ends; bytes. */
export interface AppleMap {
  readonly partitions: Partition[];
  readonly end: number;
}

/** The map of a disk of `size` bytes that begins with `sector`; undefined where there is none. */
export function readAppleMap(
  sector: Uint8Array,
  read: ReadDisk,
  size: number,
): AppleMap | undefined {
  const view = viewOf(sector);
  const blockBytes = view.getUint16(2);
  if (view.getUint16(0) !== DRIVER_SIGNATURE) return undefined;
  if (blockBytes < SECTOR || blockBytes > BLOCK_BYTES_MAX || blockBytes % SECTOR !== 0) {
    return undefined;
  }
  const partitions: Partition[] = [];
  let count = 1;
  for (let index = 1; index <= Math.min(count, ENTRIES_MAX); index++) {
    const offset = index * blockBytes;
    if (offset + SECTOR > size) return undefined;
    const entry = read(offset, SECTOR);
    const fields = viewOf(entry);
    if (!SIGNATURES.includes(fields.getUint16(0))) return undefined;
    if (index === 1) count = fields.getUint32(COUNT);
    const type = textAt(entry, TYPE);
    const partition = plainPartition({
      number: index,
      start: fields.getUint32(START) * blockBytes,
      size: fields.getUint32(BLOCKS) * blockBytes,
      type,
      typeName: type,
    });
    if (partition.size > 0) partitions.push({ ...partition, label: textAt(entry, NAME) });
  }
  return { partitions, end: (Math.min(count, ENTRIES_MAX) + 1) * blockBytes };
}

/** Text up to its NUL; what is not printable ASCII is left out. */
function textAt(entry: Uint8Array, offset: number): string {
  const text = Buffer.from(entry.subarray(offset, offset + NAME_BYTES)).toString('latin1');
  return (text.split('\0', 1)[0] ?? '').replaceAll(/[^ -~]/g, '');
}
