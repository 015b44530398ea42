/** Making a new monolithicSparse image, alone or as the child of another. */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, realpathSync, rmSync } from 'node:fs';
import { basename, dirname, relative, resolve } from 'node:path';
import { alignUp } from '../binary/alignment.js';
import {
  directoryBytes,
  newLayout,
  tableBytes,
  tableCount,
  type Geometry,
} from '../vmdk/layout.js';
import { CREATE_SECTORS_MAX, SECTOR_BYTES } from '../vmdk/limits.js';
import { DESCRIPTOR_SECTORS, formatNewDescriptor } from '../vmdk/new-descriptor.js';
import { encodeSparseHeader } from '../vmdk/sparse-extent-header.js';
import { systemError } from '../errno.js';
import { HostFile } from './host-file.js';
import { openImage } from './open-image.js';
import { randomCid } from './random-cid.js';

/** VMware's grain, in bytes. */
const GRAIN_BYTES = 64 * 1024;
const TABLE_ENTRIES = 512;

export interface CreateOptions {
  /** Bytes, rounded up to a sector; the parent's size where it is undefined. */
  readonly size: number | undefined;
  /** Path of the parent. */
  readonly backing: string | undefined;
}

interface Parent {
  readonly size: number;
  readonly cid: number | undefined;
  readonly hint: string;
}

/**
 * Makes the image at `path`, which must not exist; nothing is left of it where that fails.
 *
 * @returns the size of the disk in bytes
 * @throws VmdkError when the parent cannot be opened; EFBIG above 2 TiB, EEXIST, EINVAL for a name
 *   that a descriptor cannot hold; the system's error
 */
export function createImage(path: string, options: CreateOptions): number {
  const parent = options.backing === undefined ? undefined : readParent(path, options.backing);
  const size = alignUp(options.size ?? parent?.size ?? 0, SECTOR_BYTES);
  if (size > CREATE_SECTORS_MAX * SECTOR_BYTES) {
    throw systemError(
      'EFBIG',
      `${path}: a monolithicSparse disk holds at most 2 TiB less a sector`,
    );
  }
  const geometry = { capacity: size, grainBytes: GRAIN_BYTES, tableEntries: TABLE_ENTRIES };
  const descriptor = formatDescriptor(path, size, parent);
  const fd = openSync(path, 'wx');
  try {
    writeImage(new HostFile({ fd, path }), geometry, Buffer.from(descriptor));
    fsyncSync(fd);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  return size;
}

function formatDescriptor(path: string, size: number, parent: Parent | undefined): string {
  for (const name of [basename(path), parent?.hint ?? '']) assertNameable(path, name);
  return formatNewDescriptor({
    size,
    cid: randomCid(parent?.cid),
    parentCid: parent?.cid,
    parentFileNameHint: parent?.hint,
    fileName: basename(path),
    longContentPrefix: randomBytes(12).toString('hex'),
  });
}

function readParent(path: string, backing: string): Parent {
  const image = openImage(backing, { readOnly: true });
  try {
    const folder = realpathSync(dirname(resolve(path)));
    const hint = relative(folder, realpathSync(backing));
    return { size: image.device.size, cid: image.chain[0]?.descriptor.cid, hint };
  } finally {
    image.device.close();
  }
}

function assertNameable(path: string, name: string): void {
  if (!/["\r\n]/.test(name)) return;
  throw systemError('EINVAL', `${path}: a descriptor cannot hold the name ${JSON.stringify(name)}`);
}

function writeImage(file: HostFile, geometry: Geometry, descriptor: Buffer): void {
  const layout = newLayout(geometry, DESCRIPTOR_SECTORS * SECTOR_BYTES);
  if (descriptor.length > layout.descriptorBytes) {
    throw systemError('ENAMETOOLONG', `${file.path}: its names do not fit the descriptor`);
  }
  file.write(encodeSparseHeader(geometry, layout), 0, SECTOR_BYTES, 0);
  file.write(descriptor, 0, descriptor.length, layout.descriptorOffset);
  writeDirectory(file, geometry, layout.rgdOffset);
  writeDirectory(file, geometry, layout.gdOffset);
  // The tables are holes: they read as zeros, which is what empty tables are.
  file.write(Buffer.alloc(1), 0, 1, layout.overHead - 1);
}

function writeDirectory(file: HostFile, geometry: Geometry, offset: number): void {
  const first = (offset + directoryBytes(geometry)) / SECTOR_BYTES;
  const tableSectors = tableBytes(geometry) / SECTOR_BYTES;
  const entries = Uint32Array.from(
    { length: tableCount(geometry) },
    (_, table) => first + table * tableSectors,
  );
  file.write(new Uint8Array(entries.buffer), 0, entries.byteLength, offset);
}
