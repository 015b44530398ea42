/** What a file in an archive is, by its content: names say little. */
import { posix } from 'node:path';
import { viewOf } from '../../binary/struct.js';
import { looksLikeDescriptor } from '../../vmdk/descriptor.js';
import { DESCRIPTOR_BYTES_MAX, SECTOR_BYTES } from '../../vmdk/limits.js';
import {
  SPARSE_MAGICNUMBER,
  SPARSE_MAGICNUMBER_INCOMPLETE,
  SparseExtentHeader,
} from '../../vmdk/sparse-extent-header.js';
import { readBytes } from '../find-descriptor.js';
import type { OpenedFile } from '../opened-files.js';

/** The first bytes of a file, a sector at most. */
function headOf(file: OpenedFile): Buffer {
  return readBytes(file, 0, Math.min(file.length, SECTOR_BYTES));
}

/** The text of a file that is a descriptor; empty for another. */
export function descriptorText(file: OpenedFile, name: string): string {
  if (!isDescriptor(headOf(file).toString('latin1'), name)) return '';
  return readBytes(file, 0, Math.min(file.length, DESCRIPTOR_BYTES_MAX)).toString('latin1');
}

/**
 * Whether a file is that of a VMDK disk, sound or damaged, and not an extent that another file names.
 *
 * @param name of the file: that of a text is needed where its first line does not tell what it is
 * @param descriptors the texts of the descriptors around it: QEMU leaves room for a descriptor in
 *   each extent of a split disk, and writes none
 */
export function isDisk(file: OpenedFile, name: string, descriptors: readonly string[]): boolean {
  const head = headOf(file);
  const magic = head.length < 4 ? 0 : head.readUInt32LE();
  if (magic === SPARSE_MAGICNUMBER_INCOMPLETE) return true;
  if (magic !== SPARSE_MAGICNUMBER || head.length < SECTOR_BYTES) {
    return isDescriptor(head.toString('latin1'), name);
  }
  const offset = SparseExtentHeader.descriptorOffset.get(viewOf(head), 0) * SECTOR_BYTES;
  if (offset === 0) return false;
  if (offset + SECTOR_BYTES > file.length) return true;
  if (readBytes(file, offset, 1)[0] !== 0) return true;
  return !descriptors.some((text) => text.includes(`"${posix.basename(name)}"`));
}

/** Any settings may have a line `version = 1`. */
function isDescriptor(text: string, name: string): boolean {
  if (!looksLikeDescriptor(text)) return false;
  return isNamedVmdk(name) || /^\s*#/.test(text) || /^[ \t]*createType[ \t]*=/im.test(text);
}

/** Whether a name is that of a VMDK. */
export function isNamedVmdk(name: string): boolean {
  return /\.vmdk$/i.test(name);
}

/** How images of other programs begin. */
const OTHER_IMAGES: readonly (readonly [start: string, name: string])[] = [
  ['QFI\xfb', 'a qcow2 image'],
  ['conectix', 'a VHD image'],
  ['vhdxfile', 'a VHDX image'],
  ['<<< ', 'a VirtualBox image (VDI)'],
];

/** The cookie of a VHD of fixed size is in its last sector. */
const VHD_COOKIE = 'conectix';

/** The kind of an image of another program; undefined for anything else. */
export function otherImage(file: OpenedFile): string | undefined {
  const head = headOf(file).toString('latin1', 0, 8);
  const [, name] = OTHER_IMAGES.find(([start]) => head.startsWith(start)) ?? [];
  if (name !== undefined || file.length <= SECTOR_BYTES) return name;
  const end = readBytes(file, file.length - SECTOR_BYTES, VHD_COOKIE.length);
  return end.toString('latin1') === VHD_COOKIE ? 'a VHD image' : undefined;
}
