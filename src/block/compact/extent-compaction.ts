/** What compacting the extents of an image has in common. */
import { isZero } from '../../binary/zeros.js';
import type { BlockDevice } from '../block-device.js';
import type { HostFile } from '../host-file.js';

/** One extent that is compacted; the image is open for writing, and nobody else has it. */
export interface ExtentCompaction {
  readonly file: HostFile;
  /** Where the extent begins on the disk; bytes. */
  readonly start: number;
  readonly size: number;
  /** The disk beneath the image; undefined where it has no parent. */
  readonly parent: BlockDevice | undefined;
  /** Told how much of the extent is done, from 0 to 1. */
  readonly progress: (share: number) => void;
}

/** Bytes of a file that are looked at together. */
const PIECE_BYTES = 1024 * 1024;

const BYTES = new Uint8Array(PIECE_BYTES);

/** Whether `length` bytes of `file` at `position` are zeros; holes are not read. */
export function isZeroInFile(file: HostFile, position: number, length: number): boolean {
  const end = position + length;
  for (let at = file.nextData(position, end); at < end;) {
    const count = Math.min(PIECE_BYTES, end - at);
    file.read(BYTES, 0, count, at);
    if (!isZero(BYTES, 0, count)) return false;
    at = file.nextData(at + count, end);
  }
  return true;
}

/** Whether nothing but zeros lies beneath `length` bytes at `offset` of the extent. */
export function isZeroBeneath(
  { parent, start }: ExtentCompaction,
  offset: number,
  length: number,
): boolean {
  if (parent === undefined) return true;
  const end = Math.min(start + offset + length, parent.size);
  for (let at = start + offset; at < end;) {
    at = parent.nextData(at, end);
    if (at >= end) break;
    const count = Math.min(PIECE_BYTES, end - at);
    parent.read(BYTES, 0, count, at);
    if (!isZero(BYTES, 0, count)) return false;
    at += count;
  }
  return true;
}

/** Copies `length` bytes of a file to a place that they do not reach into. */
export function copyInFile(file: HostFile, from: number, to: number, length: number): void {
  for (let done = 0; done < length; done += PIECE_BYTES) {
    const count = Math.min(PIECE_BYTES, length - done);
    file.read(BYTES, 0, count, from + done);
    file.write(BYTES, 0, count, to + done);
  }
}
