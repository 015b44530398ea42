/**
 * From a file to its descriptor: a sparse file has it inside, otherwise the file is the descriptor.
 * A file that is only an extent is told from one that is no VMDK.
 */
import { isZero } from '../binary/zeros.js';
import { looksLikeDescriptor, parseDescriptor, type Descriptor } from '../vmdk/descriptor.js';
import { DESCRIPTOR_BYTES_MAX, SECTOR_BYTES } from '../vmdk/limits.js';
import {
  decodeSparseHeader,
  SPARSE_MAGICNUMBER,
  SPARSE_MAGICNUMBER_INCOMPLETE,
  type SparseHeader,
} from '../vmdk/sparse-extent-header.js';
import { VmdkError, type VmdkErrorCode } from '../vmdk/vmdk-error.js';
import { HostFile } from './host-file.js';
import type { OpenedFile } from './opened-files.js';

/** Where a descriptor lies: all of `file`, or a part of a sparse file. */
export interface DescriptorPlace {
  readonly file: OpenedFile;
  readonly offset: number;
  /** Bytes that it may take. */
  readonly room: number;
  readonly descriptor: Descriptor;
  /** The header of the sparse file it is embedded in, which is then the first extent. */
  readonly embeddedIn: SparseHeader | undefined;
}

/** What is known of a file without a descriptor that is one part of a disk. */
export interface BareExtent {
  /** With its article: `one extent of a split disk`. */
  readonly kind: string;
  /** What its header gives, in bytes; undefined where that is not looked at. */
  readonly capacity: number | undefined;
}

/**
 * A file without a descriptor: it is no VMDK, or one part of a disk. Files beside it may say of
 * which.
 */
export class NoDescriptorError extends VmdkError {
  /** Undefined where the file says nothing of itself. */
  readonly extent: BareExtent | undefined;

  constructor(code: VmdkErrorCode, file: string, reason: string, extent?: BareExtent) {
    super(code, file, reason);
    this.extent = extent;
  }
}

/**
 * Finds the descriptor of an image file.
 *
 * @throws NoDescriptorError where the file has none; VmdkError for an image that cannot be opened
 */
export function findDescriptor(file: OpenedFile): DescriptorPlace {
  const head = readBytes(file, 0, Math.min(file.length, SECTOR_BYTES));
  const magic = head.length >= 4 ? head.readUInt32LE(0) : 0;
  if (magic === SPARSE_MAGICNUMBER || magic === SPARSE_MAGICNUMBER_INCOMPLETE) {
    return findEmbedded(file, head);
  }
  assertNoExtent(file, head);
  if (file.length > DESCRIPTOR_BYTES_MAX) throw notVmdk(file);
  const text = readBytes(file, 0, file.length).toString('latin1');
  if (!looksLikeDescriptor(text)) throw notVmdk(file);
  const descriptor = parseDescriptor(text, file.path);
  return { file, offset: 0, room: DESCRIPTOR_BYTES_MAX, descriptor, embeddedIn: undefined };
}

function findEmbedded(file: OpenedFile, head: Buffer): DescriptorPlace {
  if (head.length < SECTOR_BYTES) {
    throw new VmdkError(
      'VMDK_TRUNCATED',
      file.path,
      `has only ${file.length} bytes, less than a header (${SECTOR_BYTES}); it is truncated`,
    );
  }
  const header = decodeSparseHeader(head, file.path);
  if (header.descriptorOffset === 0) {
    throw new NoDescriptorError(
      'VMDK_NO_DESCRIPTOR',
      file.path,
      'is one extent of a split disk and has no descriptor; open the disk by its descriptor file (NAME.vmdk for NAME-s001.vmdk)',
      { kind: SPLIT_EXTENT, capacity: header.capacity },
    );
  }
  const end = header.descriptorOffset + header.descriptorBytes;
  if (end > file.length) {
    throw new VmdkError(
      'VMDK_TRUNCATED',
      file.path,
      `its descriptor ends at byte ${end}, but the file has only ${file.length} bytes; it is truncated or corrupt`,
    );
  }
  const room = readBytes(file, header.descriptorOffset, header.descriptorBytes);
  const text = room.toString('latin1');
  if (!looksLikeDescriptor(text)) throw noText(file, header, isZero(room, 0, room.length));
  return {
    file,
    offset: header.descriptorOffset,
    room: header.descriptorBytes,
    descriptor: parseDescriptor(text, file.path),
    // A header without capacity is a wrapper around a descriptor of flat extents.
    embeddedIn: header.capacity === 0 ? undefined : header,
  };
}

const SPLIT_EXTENT = 'one extent of a split disk';

/** QEMU leaves room for a descriptor in each extent of a split disk, and writes none. */
function noText(file: OpenedFile, header: SparseHeader, isBlank: boolean): NoDescriptorError {
  const { capacity, descriptorOffset } = header;
  if (isBlank) {
    return new NoDescriptorError(
      'VMDK_NO_DESCRIPTOR',
      file.path,
      'has room for a descriptor, but none in it; if it is one extent of a split disk, open the disk by its descriptor file (NAME.vmdk for NAME-s001.vmdk)',
      { kind: SPLIT_EXTENT, capacity },
    );
  }
  return new NoDescriptorError(
    'VMDK_BAD_DESCRIPTOR',
    file.path,
    `its own descriptor, at byte ${descriptorOffset}, is damaged; a separate descriptor file that names it can open it`,
    { kind: 'a sparse image whose own descriptor is damaged', capacity },
  );
}

/** Extents that never have a descriptor of their own: how they begin, and how they are called. */
const BARE_EXTENTS: readonly (readonly [magic: string, kind: string, name: string])[] = [
  ['COWD', 'an ESX delta (COWD)', 'NAME-delta.vmdk'],
  ['\xbe\xba\xfe\xca\0\0\0\0', 'a seSparse delta', 'NAME-sesparse.vmdk'],
];

function assertNoExtent(file: OpenedFile, head: Buffer): void {
  const found = BARE_EXTENTS.find(([magic]) => head.toString('latin1').startsWith(magic));
  if (found === undefined) return;
  const [, kind, name] = found;
  throw new NoDescriptorError(
    'VMDK_NO_DESCRIPTOR',
    file.path,
    `is the extent of ${kind} and has no descriptor; open the disk by its descriptor file (NAME.vmdk for ${name})`,
    { kind: `the extent of ${kind}`, capacity: undefined },
  );
}

/** `length` bytes of a file at `position`; past its end they are zeros. */
export function readBytes(file: OpenedFile, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  new HostFile(file).read(bytes, 0, length, position);
  return bytes;
}

function notVmdk(file: OpenedFile): NoDescriptorError {
  return new NoDescriptorError(
    'VMDK_NOT_VMDK',
    file.path,
    'is not a VMDK (neither a sparse header nor a descriptor found); if it is a plain disk, mount it with mount -o loop',
  );
}
