/**
 * Which parts of a volume tell what is in it: what libblkid reads of it, without the data between.
 * Most file systems and containers say what they are near the start or the end of their volume; the
 * labels of some lie where their headers lead. The fields are those of the systems' own headers, in
 * the places where libblkid (util-linux, `libblkid/src/superblocks`) looks for them.
 */
import { viewOf } from '../binary/struct.js';
import type { ByteRange, ReadDisk } from './partition.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Behind the magic number of a VMFS volume, which is the furthest (2 MiB). */
const HEAD_BYTES = 2 * MIB + 128 * KIB;

/** RAID and ZFS have theirs in the last 512 KiB and before. */
const TAIL_BYTES = MIB;

/** So much of a folder or a table is read for a label. */
const LABEL_BYTES = 64 * KIB;

/** The largest sector or cluster that such a header may have, bytes. */
const UNIT_BYTES_MAX = 32 * MIB;

const SECTOR = 512;

/** The first sectors of a volume, with all headers that lead elsewhere. */
const HEADERS_BYTES = 4 * KIB;

/** Where HFS+ has its volume header. */
const HFS_HEADER = 1024;

/** The record of the volume's name in the master file table of NTFS, and those before it. */
const NTFS_RECORDS = 4;

/**
 * The ranges of a volume of `size` bytes that tell what is in it; they lie inside it, may overlap,
 * and are no more than about 4 MiB together.
 *
 * @throws what `read` throws
 */
export function contentPlaces(read: ReadDisk, size: number): ByteRange[] {
  const places = [
    { start: 0, end: HEAD_BYTES },
    { start: size - TAIL_BYTES, end: size },
  ];
  if (size > HEAD_BYTES + TAIL_BYTES) {
    const headers = viewOf(read(0, HEADERS_BYTES));
    places.push(
      ...ntfsPlaces(headers),
      ...bitLockerPlaces(headers),
      ...exfatPlaces(headers),
      ...fatPlaces(headers),
    );
    places.push(...hfsPlaces(headers, read, size));
  }
  return places
    .map(({ end, start }) => ({ start: Math.max(0, start), end: Math.min(end, size) }))
    .filter(({ end, start }) => start < end);
}

/** A range; none where a header leads where numbers are no longer exact. */
function place(start: number, length: number): ByteRange[] {
  return Number.isSafeInteger(start + length) ? [{ start, end: start + length }] : [];
}

function textAt(view: DataView, at: number, length: number): string {
  return Buffer.from(view.buffer, view.byteOffset + at, length).toString('latin1');
}

function ntfsPlaces(view: DataView): ByteRange[] {
  if (textAt(view, 3, 8) !== 'NTFS    ') return [];
  const factor = view.getUint8(13);
  const cluster = view.getUint16(11, true) * (factor < 0x80 ? factor : 2 ** (256 - factor));
  const said = view.getInt8(64);
  const record = said < 0 ? 2 ** -said : said * cluster;
  if (cluster > UNIT_BYTES_MAX || record > LABEL_BYTES) return [];
  const table = Number(view.getBigUint64(48, true)) * cluster;
  return place(table, NTFS_RECORDS * record);
}

/** Where the metadata of BitLocker is: in bytes from Windows 7 on and on sticks, in clusters before. */
function bitLockerPlaces(view: DataView): ByteRange[] {
  const isFixed = textAt(view, 3, 8) === '-FVE-FS-';
  if (!isFixed && textAt(view, 3, 8) !== 'MSWIN4.1') return [];
  const cluster = view.getUint16(11, true) * view.getUint8(13);
  return [
    ...place(Number(view.getBigUint64(isFixed ? 176 : 440, true)), SECTOR),
    ...(isFixed ? place(Number(view.getBigUint64(56, true)) * cluster, SECTOR) : []),
  ];
}

function exfatPlaces(view: DataView): ByteRange[] {
  if (textAt(view, 3, 8) !== 'EXFAT   ') return [];
  const sector = 2 ** view.getUint8(108);
  const cluster = sector * 2 ** view.getUint8(109);
  const root = view.getUint32(96, true);
  if (cluster > UNIT_BYTES_MAX || root < 2) return [];
  const heap = view.getUint32(88, true) * sector;
  const table = view.getUint32(80, true) * sector;
  return [
    ...place(heap + (root - 2) * cluster, Math.min(cluster, LABEL_BYTES)),
    ...place(table + root * 4, 4),
  ];
}

/** The root folder of a FAT, which has no magic number: any header may lead somewhere. */
function fatPlaces(view: DataView): ByteRange[] {
  const sector = view.getUint16(11, true);
  const cluster = sector * view.getUint8(13);
  const start = view.getUint16(14, true) * sector;
  const short = view.getUint16(22, true);
  const length = (short === 0 ? view.getUint32(36, true) : short) * sector;
  const data = start + view.getUint8(16) * length;
  if (short !== 0) return place(data, Math.min(view.getUint16(17, true) * 32, LABEL_BYTES));
  const root = view.getUint32(44, true);
  if (root < 2 || cluster === 0) return [];
  return [
    ...place(data + (root - 2) * cluster, Math.min(cluster, LABEL_BYTES)),
    ...place(start + root * 4, 4),
  ];
}

/** The first leaf of the catalog of HFS+ has the volume's name; all is big-endian. */
function hfsPlaces(header: DataView, read: ReadDisk, size: number): ByteRange[] {
  if (!['H+', 'HX'].includes(textAt(header, HFS_HEADER, 2))) return [];
  const block = header.getUint32(HFS_HEADER + 40);
  if (block === 0 || block > UNIT_BYTES_MAX) return [];
  const extents: { readonly at: number; readonly length: number }[] = [];
  for (let index = 0; index < 8; index++) {
    const field = HFS_HEADER + 272 + 16 + index * 8;
    const [first, count] = [header.getUint32(field), header.getUint32(field + 4)];
    extents.push({ at: first * block, length: count * block });
  }
  const start = extents[0]?.at ?? 0;
  if (start + SECTOR > size) return [];
  const node = viewOf(read(start, SECTOR));
  const bytes = node.getUint16(14 + 18);
  let leaf = node.getUint32(14 + 10) * bytes;
  for (const { at, length } of extents) {
    if (leaf < length) return [...place(start, SECTOR), ...place(at + leaf, bytes)];
    leaf -= length;
  }
  return place(start, SECTOR);
}
