/**
 * Making a new image of any kind, alone or as the child of another. Everything that can be refused
 * is refused before a file is made; then the extents are made, and the descriptor that names them.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { basename, dirname, join, relative, sep } from 'node:path';
import { bytesOfPath } from '../binary/path-text.js';
import { realpathSync, absolutePath } from '../os/host-fs.js';
import { alignUp } from '../binary/alignment.js';
import { ADAPTER_DEFAULT, diskGeometry, type Adapter } from '../vmdk/disk-geometry.js';
import { CAPACITY_SECTORS_MAX, DESCRIPTOR_BYTES_MAX, SECTOR_BYTES } from '../vmdk/limits.js';
import { formatNewDescriptor, type NewDisk } from '../vmdk/new-descriptor.js';
import {
  factsOfSubformat,
  planExtents,
  STREAM_OPTIMIZED,
  SUBFORMAT_DEFAULT,
  type ImageKind,
  type NewExtent,
  type Subformat,
} from '../vmdk/subformat.js';
import { virtualBoxLines, type VirtualBoxLink } from '../vmdk/virtualbox-link.js';
import { systemError } from '../errno.js';
import { writeFlatExtent } from './create-flat.js';
import { writeCowdExtent, writeSeSparseExtent, writeSparseExtent } from './create-sparse.js';
import type { HostFile } from './host-file.js';
import { NewFiles } from './new-files.js';
import { openImage } from './open-image.js';
import type { OpenPermissions } from './open-policy.js';
import { randomCid } from './random-cid.js';

export interface CreateOptions {
  /** Bytes, rounded up to a sector; the parent's size where it is undefined. */
  readonly size: number | undefined;
  /** Path of the parent. */
  readonly backing: string | undefined;
  /** monolithicSparse unless told otherwise. */
  readonly subformat?: Subformat;
  /** lsilogic unless told otherwise. */
  readonly adapter?: Adapter;
  /** The folder that the image will be moved to: its parent is named as seen from there. */
  readonly home?: string;
  /** What the parent and its own parents are allowed to be. */
  readonly permissions?: OpenPermissions;
  /** Whether the parent is refused where another program writes to it. */
  readonly lock?: boolean;
}

/** What a child says of its parent. */
export interface NewParent {
  /** Bytes. */
  readonly size: number;
  readonly cid: number | undefined;
  /** How VirtualBox knows it. */
  readonly virtualBox?: VirtualBoxLink | undefined;
  /** The name by which the child knows it. */
  readonly hint: string;
}

/**
 * Makes the image at `path`. None of its files may exist, and none of them is left where it fails.
 *
 * @returns the size of the disk in bytes
 * @throws VmdkError when the parent cannot be opened; EFBIG above what the kind of image holds,
 *   EEXIST, EINVAL for a name that a descriptor cannot hold and for a flat child; the system's error
 */
export function createImage(path: string, options: CreateOptions): number {
  const subformat = options.subformat ?? SUBFORMAT_DEFAULT;
  const parent = parentOf(path, subformat, options);
  const size = alignUp(options.size ?? parent?.size ?? 0, SECTOR_BYTES);
  const disk = planDisk(path, subformat, size, parent, options.adapter ?? ADAPTER_DEFAULT);
  const descriptor = bytesOfPath(formatNewDescriptor(disk));
  if (descriptor.length >= DESCRIPTOR_BYTES_MAX) throw tooManyExtents(path, subformat);
  const files = new NewFiles();
  try {
    writeImage(files, path, disk, descriptor);
    files.syncFolders();
  } catch (error) {
    files.removeAll();
    throw error;
  }
  return size;
}

/**
 * What makes an empty file a monolithicSparse child of `parent`, called `path`, of the same size.
 *
 * @returns a function that writes such a file
 * @throws EFBIG, EINVAL as `createImage` does, with nothing written
 */
export function planChild(path: string, parent: NewParent): (file: HostFile) => void {
  const disk = planDisk(path, SUBFORMAT_DEFAULT, parent.size, parent, ADAPTER_DEFAULT);
  const descriptor = bytesOfPath(formatNewDescriptor(disk));
  return (file) => {
    writeSparseExtent(file, parent.size, descriptor);
  };
}

function parentOf(
  path: string,
  subformat: Subformat,
  { backing, home = dirname(path), lock = false, permissions = {} }: CreateOptions,
): NewParent | undefined {
  if (backing === undefined) return undefined;
  if (!factsOfSubformat(subformat).canBeChild) {
    throw systemError('EINVAL', `${path}: a ${subformat} image cannot have a parent`);
  }
  return readParent(join(home, basename(path)), backing, permissions, lock);
}

/** Whether `parent` lies outside the folder of the image at `path`, and of those inside it. */
export function isOutsideFolder(path: string, parent: string): boolean {
  return hintTo(path, parent).startsWith(`..${sep}`);
}

/** How the image at `path` names its parent: as seen from its folder, links followed. */
export function hintTo(path: string, parent: string): string {
  return relative(realpathSync(dirname(absolutePath(path))), realpathSync(parent));
}

function readParent(
  path: string,
  backing: string,
  permissions: OpenPermissions,
  lock: boolean,
): NewParent {
  const image = openImage(backing, { ...permissions, readOnly: true, lock });
  try {
    if (image.disk !== undefined) {
      throw systemError('EINVAL', `${backing}: a disk inside an archive cannot be a parent`);
    }
    const { cid, virtualBox } = image.chain[0]?.descriptor ?? {};
    return { size: image.device.size, cid, virtualBox, hint: hintTo(path, backing) };
  } finally {
    image.device.close();
  }
}

/**
 * The descriptor of a streamOptimized image that will be at `path`.
 *
 * @param size of the disk in bytes, whole sectors
 * @throws EFBIG, EINVAL as `createImage` does
 */
export function streamDescriptor(path: string, size: number, adapter: Adapter): Buffer {
  return bytesOfPath(
    formatNewDescriptor(planDisk(path, STREAM_OPTIMIZED, size, undefined, adapter)),
  );
}

function planDisk(
  path: string,
  subformat: ImageKind,
  size: number,
  parent: NewParent | undefined,
  adapter: Adapter,
): NewDisk {
  const fileName = basename(path);
  for (const name of [fileName, parent?.hint ?? '']) assertNameable(path, name);
  return {
    subformat,
    extents: extentsOf(path, subformat, size, fileName),
    cid: randomCid(parent?.cid),
    parentCid: parent?.cid,
    parentFileNameHint: parent?.hint,
    adapter,
    geometry: diskGeometry(size, adapter),
    longContentPrefix: randomBytes(12).toString('hex'),
    virtualBoxLines: virtualBoxLines(parent?.virtualBox, randomUUID),
  };
}

function assertNameable(path: string, name: string): void {
  if (!/["\r\n]/.test(name)) return;
  throw systemError('EINVAL', `${path}: a descriptor cannot hold the name ${JSON.stringify(name)}`);
}

/** Limits of the kinds of image, in words. */
const SIZE_LIMITS: Partial<Record<ImageKind, string>> = {
  monolithicSparse: '2 TiB less a sector',
  vmfsSparse: '2 TiB less a sector',
  seSparse: '64 TiB',
  streamOptimized: '128 TiB',
};

function extentsOf(
  path: string,
  subformat: ImageKind,
  size: number,
  fileName: string,
): readonly NewExtent[] {
  const isAddressable = size <= CAPACITY_SECTORS_MAX * SECTOR_BYTES;
  const extents = planExtents(subformat, size, fileName, DESCRIPTOR_BYTES_MAX);
  if (isAddressable && extents !== undefined) return extents;
  const limit = SIZE_LIMITS[subformat];
  if (limit === undefined && isAddressable) throw tooManyExtents(path, subformat);
  throw systemError(
    'EFBIG',
    `${path}: a ${subformat} disk holds at most ${limit ?? '8 PiB less a sector'}`,
  );
}

function tooManyExtents(path: string, subformat: ImageKind): Error {
  return systemError(
    'EFBIG',
    `${path}: a ${subformat} disk of this size has more extents than a descriptor of 1 MiB can name`,
  );
}

/** A descriptor of its own is made first, so that no other is in the way, and written last. */
function writeImage(files: NewFiles, path: string, disk: NewDisk, descriptor: Buffer): void {
  const isOwnFile = factsOfSubformat(disk.subformat).suffix !== '';
  files.create(path, (file) => {
    if (!isOwnFile) {
      writeSparseExtent(file, disk.extents[0]?.size ?? 0, descriptor);
      return;
    }
    for (const { size, fileName } of disk.extents) {
      files.create(join(dirname(path), fileName), (extent) => {
        writeExtent(extent, size, disk);
      });
    }
    file.write(descriptor, 0, descriptor.length, 0);
  });
}

function writeExtent(file: HostFile, size: number, disk: NewDisk): void {
  const { extentType, isPreallocated } = factsOfSubformat(disk.subformat);
  const { parentFileNameHint: hint, geometry } = disk;
  switch (extentType) {
    case 'SPARSE':
      writeSparseExtent(file, size, undefined);
      break;
    case 'VMFSSPARSE':
      writeCowdExtent(
        file,
        size,
        hint === undefined ? { geometry } : { parentFileName: bytesOfPath(hint) },
      );
      break;
    case 'SESPARSE':
      writeSeSparseExtent(file, size);
      break;
    case 'FLAT':
    case 'VMFS':
      writeFlatExtent(file, size, isPreallocated);
      break;
  }
}
