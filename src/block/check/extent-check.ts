/** What the checks of all kinds of extents share. */
import type { HostFile } from '../host-file.js';
import type { OpenedFile } from '../opened-files.js';
import { placeOf, type PlaceScale } from '../table-codec.js';
import type { Problem, Problems } from './problem.js';

/** One extent while it is checked. */
export interface ExtentCheck {
  readonly file: OpenedFile;
  /** Where the extent begins on the disk, and its size by its line; bytes. */
  readonly start: number;
  readonly size: number;
  readonly problems: Problems;
  /** Told how much of the extent is done, from 0 to 1. */
  readonly progress: (share: number) => void;
}

/** A problem of a grain of the extent, or of the extent as a whole. */
export function report(
  check: ExtentCheck,
  problem: Omit<Problem, 'file' | 'diskOffset'>,
  grainBytes = 0,
): void {
  const { grain } = problem;
  const place = grain === undefined ? {} : { diskOffset: check.start + grain * grainBytes };
  check.problems.add({ ...problem, ...place, file: check.file.path });
}

/** `value` as four little-endian bytes. */
export function u32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/**
 * Reports grains that lie over each other.
 *
 * @param found the entries in use of each table
 * @returns all entries, ascending
 */
export function reportShared(
  check: ExtentCheck,
  found: readonly Uint32Array[],
  scale: PlaceScale,
  grainBytes: number,
): Uint32Array {
  const entries = new Uint32Array(found.reduce((sum, words) => sum + words.length, 0));
  let end = 0;
  for (const words of found) {
    entries.set(words, end);
    end += words.length;
  }
  entries.sort();
  const step = grainBytes / scale.unit;
  entries.forEach((entry, index) => {
    const before = index === 0 ? -Infinity : (entries[index - 1] ?? 0);
    if (entry - before >= step) return;
    const offset = placeOf(scale, entry);
    const message = `two grains of the disk have the bytes at ${offset} of the file`;
    report(check, { kind: 'shared-grain', severity: 'error', offset, message });
  });
  return entries;
}

/** Bytes of a file that are mostly asked for in ascending order, read in larger pieces. */
export class Window {
  readonly #file: HostFile;
  readonly #bytes = Buffer.alloc(64 * 1024);
  #start = -1;

  constructor(file: HostFile) {
    this.#file = file;
  }

  /** `length` bytes at `position`, until the next call; past the end of the file they are zeros. */
  at(position: number, length: number): Buffer {
    const isThere =
      this.#start >= 0 &&
      position >= this.#start &&
      position + length <= this.#start + this.#bytes.length;
    if (!isThere) {
      this.#start = position;
      this.#file.read(this.#bytes, 0, this.#bytes.length, position);
    }
    return this.#bytes.subarray(position - this.#start, position - this.#start + length);
  }
}
