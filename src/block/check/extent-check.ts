/** What the checks of all kinds of extents share. */
import type { HostFile } from '../host-file.js';
import type { OpenedFile, OpenedFiles } from '../opened-files.js';
import type { Problem, Problems } from './problem.js';

/** One extent while it is checked. */
export interface ExtentCheck {
  readonly file: OpenedFile;
  /** Where the extent begins on the disk, and its size by its line; bytes. */
  readonly start: number;
  readonly size: number;
  readonly problems: Problems;
  /** Counts the tables of all extents, which are bounded for the whole image. */
  readonly files: Pick<OpenedFiles, 'claimTables'>;
  /** Told how much of the extent is done, from 0 to 1. */
  readonly progress: (share: number) => void;
}

/**
 * A problem of a grain of the extent, or of the extent as a whole.
 *
 * @returns it as it is in the list of problems; undefined where it is only counted
 */
export function report(
  check: ExtentCheck,
  problem: Omit<Problem, 'file' | 'diskOffset'>,
  grainBytes = 0,
): Problem | undefined {
  const { grain } = problem;
  const place = grain === undefined ? {} : { diskOffset: check.start + grain * grainBytes };
  const full = { ...problem, ...place, file: check.file.path };
  return check.problems.add(full) ? full : undefined;
}

/** So many bytes of the file are lost to it. */
export function leakOf(bytes: number): Omit<Problem, 'file' | 'diskOffset'> {
  return {
    kind: 'leaked',
    severity: 'leak',
    message: `${bytes} bytes of the file belong to no grain`,
  };
}

/** All of `parts`, ascending. */
export function sorted(parts: readonly Uint32Array[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  return all.sort();
}

/** Those of `places`, which ascend, that are less than `size` apart from another. */
export function overlapping(places: Uint32Array, size: number): Uint32Array {
  return places.filter(
    (place, index) =>
      place - (places[index - 1] ?? -Infinity) < size ||
      (places[index + 1] ?? Infinity) - place < size,
  );
}

/** Whether one of `places`, which ascend, is less than `size` apart from `place`. */
export function isNear(places: Uint32Array, place: number, size: number): boolean {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((places[middle] ?? 0) <= place - size) low = middle + 1;
    else high = middle;
  }
  return (places[low] ?? Infinity) < place + size;
}

/** Bytes of a file that are mostly asked for in ascending order, read in larger pieces. */
export class Window {
  readonly #file: HostFile;
  readonly #bytes: Buffer;
  #start = -1;

  /** @param size bytes of a piece */
  constructor(file: HostFile, size: number) {
    this.#file = file;
    this.#bytes = Buffer.alloc(size);
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
