/**
 * The images that lie beside a file, as far as their descriptors tell.
 *
 * It is a help, not a promise: a bounded number of regular files is read from their beginning, for a
 * bounded time, none of them is locked, and what cannot be read is passed over.
 */
import { closeSync, constants, fstatSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { lstatSync, openSync, realpathSync, folderEntries } from '../os/host-fs.js';
import { looksLikeDescriptor, parseDescriptor, type Descriptor } from '../vmdk/descriptor.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import {
  decodeSparseHeader,
  SPARSE_MAGICNUMBER,
  SPARSE_MAGICNUMBER_INCOMPLETE,
} from '../vmdk/sparse-extent-header.js';

/** Regular files that are looked at. */
export const FILES_MAX = 1000;

/** Names that are read of a folder. */
const NAMES_MAX = 10_000;

/** Bytes of a file that are looked at, and those that show whether it may be an image at all. */
const HEAD_BYTES = 64 * 1024;
const FIRST_BYTES = 4 * 1024;

/** How long all of it may take, milliseconds: storage may be slow. */
const LOOK_MS = 1000;

/** An image, as the beginning of its file shows it. */
export interface ImageBeside {
  readonly path: string;
  readonly descriptor: Descriptor;
  /** Whether the descriptor is inside the file of the first extent. */
  readonly isEmbedded: boolean;
}

/**
 * The images in the folder of the name `path` and in that of the file that it leads to.
 *
 * @param passed the identities (`DEVICE:INODE`) of files that are passed over
 */
export function* imagesBeside(path: string, passed: readonly string[]): Generator<ImageBeside> {
  const end = performance.now() + LOOK_MS;
  for (const each of filesBeside(path)) {
    if (performance.now() > end) return;
    const image = imageAt(each, passed);
    if (image !== undefined) yield image;
  }
}

function imageAt(path: string, passed: readonly string[]): ImageBeside | undefined {
  try {
    const stats = lstatSync(path);
    if (!stats.isFile() || passed.includes(`${stats.dev}:${stats.ino}`)) return undefined;
    return readImage(path);
  } catch {
    return undefined; // gone, not ours to read, or no image
  }
}

/** Regular files in the folders of `path`, those first that are called as images are. */
function filesBeside(path: string): string[] {
  const folders = new Map<string, string>();
  const images: string[] = [];
  const others: string[] = [];
  try {
    folders.set(dirname(realpathSync(path)), dirname(realpathSync(path)));
    folders.set(realpathSync(dirname(path)), dirname(path));
    for (const folder of folders.values()) {
      for (const name of fileNamesIn(folder)) {
        (name.endsWith('.vmdk') ? images : others).push(join(folder, name));
      }
    }
  } catch {
    // Not ours to list; what was found is looked at.
  }
  return [...images, ...others].slice(0, FILES_MAX);
}

/** The names of the regular files in a folder; of very many only the first. */
export function* fileNamesIn(folder: string): Generator<string> {
  let count = 0;
  for (const { isFile, name } of folderEntries(folder, FILES_MAX)) {
    if (isFile) yield name;
    if (++count === NAMES_MAX) return;
  }
}

/**
 * The image that a file begins with; undefined where there is none. The file is not locked, and a
 * FIFO that has taken its place does not hang us.
 */
export function readImage(path: string): ImageBeside | undefined {
  const { O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
  const fd = openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) return undefined;
    const first = readBytes(fd, 0, FIRST_BYTES);
    const magic = first.length >= SECTOR_BYTES ? first.readUInt32LE(0) : 0;
    if (magic === SPARSE_MAGICNUMBER || magic === SPARSE_MAGICNUMBER_INCOMPLETE) {
      const header = decodeSparseHeader(first.subarray(0, SECTOR_BYTES), path);
      const { descriptorBytes, descriptorOffset } = header;
      const descriptor = parseStart(fd, descriptorOffset, descriptorBytes, path);
      return { path, descriptor, isEmbedded: header.capacity > 0 };
    }
    if (!looksLikeDescriptor(first.toString('latin1'))) return undefined;
    return { path, descriptor: parseStart(fd, 0, stats.size, path), isEmbedded: false };
  } finally {
    closeSync(fd);
  }
}

/** Parses as much of a descriptor as lies in the beginning of its file; the names stand first. */
function parseStart(fd: number, offset: number, length: number, path: string): Descriptor {
  const there = Math.max(0, Math.min(length, HEAD_BYTES - offset));
  const text = readBytes(fd, offset, there).toString('latin1');
  // A line that is cut off is none.
  const end = there < length ? text.lastIndexOf('\n') + 1 : text.length;
  return parseDescriptor(text.slice(0, end), path);
}

function readBytes(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const count = readSync(fd, bytes, done, length - done, position + done);
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}
