/**
 * Looking at the files beside an image: which of them are images, and what their descriptors say. It is
 * a quick look at many files: only the beginning of each is read, and none of them is locked.
 */
import { closeSync, constants, fstatSync, opendirSync, openSync, readSync } from 'node:fs';
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

/** The names of the regular files in a folder; of very many only the first. */
export function* fileNamesIn(folder: string): Generator<string> {
  const entries = opendirSync(folder, { bufferSize: FILES_MAX });
  try {
    for (let count = 0; count < NAMES_MAX; count++) {
      const entry = entries.readSync();
      if (entry === null) return;
      if (entry.isFile()) yield entry.name;
    }
  } finally {
    entries.closeSync();
  }
}

/**
 * The descriptor in the beginning of a file; undefined where there is none. The file is not locked,
 * and a FIFO that has taken its place does not hang us.
 */
export function descriptorOf(path: string): Descriptor | undefined {
  const { O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
  const fd = openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) return undefined;
    const first = readBytes(fd, 0, FIRST_BYTES);
    const magic = first.length >= SECTOR_BYTES ? first.readUInt32LE(0) : 0;
    if (magic === SPARSE_MAGICNUMBER || magic === SPARSE_MAGICNUMBER_INCOMPLETE) {
      const header = decodeSparseHeader(first.subarray(0, SECTOR_BYTES), path);
      return parseStart(fd, header.descriptorOffset, header.descriptorBytes, path);
    }
    if (!looksLikeDescriptor(first.toString('latin1'))) return undefined;
    return parseStart(fd, 0, stats.size, path);
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
