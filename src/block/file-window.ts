/**
 * A part of a file that is read as a file of its own: one range of it, or several, with holes between
 * them. It travels between threads, so it is plain data, and what may be long is shared memory.
 */

/** All numbers are bytes. */
export interface FileWindow {
  /** Where in the file it begins; of one in pieces, only which window of the file it is. */
  readonly offset: number;
  readonly length: number;
  /** Where the pieces of it are; undefined where it is one range. */
  readonly pieces?: FilePieces;
}

/** The pieces of a window; each ends where the next begins, and the last where the window ends. */
export interface FilePieces {
  /** Where they begin in the window, ascending from 0. */
  readonly starts: Float64Array;
  /** Where they begin in the file; negative for a hole. */
  readonly places: Float64Array;
  /** Bytes of them that are in the file. */
  readonly bytes: number;
}

/** A range of a window: where it begins in it, where in the file, and how long it is. */
export interface FileRange {
  readonly start: number;
  readonly place: number;
  readonly length: number;
}

const HOLE = -1;

/**
 * The window that `ranges` make; where there is none of them it has a hole.
 *
 * @param ranges in the order of the window, without overlaps
 * @param offset which window of the file it is
 */
export function windowOf(ranges: readonly FileRange[], length: number, offset: number): FileWindow {
  const list: { start: number; place: number }[] = [];
  let bytes = 0;
  let end = 0;
  const add = (start: number, place: number): void => {
    const last = list.at(-1);
    const isNext =
      last !== undefined && place !== HOLE && last.place + start - last.start === place;
    if (!isNext || last.place === HOLE) list.push({ start, place });
  };
  for (const range of ranges) {
    if (range.length === 0) continue;
    if (range.start > end) add(end, HOLE);
    add(range.start, range.place);
    bytes += range.length;
    end = range.start + range.length;
  }
  if (end < length) add(end, HOLE);
  const [first] = list;
  if (first === undefined || (list.length === 1 && first.place !== HOLE)) {
    return { offset: first?.place ?? offset, length };
  }
  const starts = shared(list.map(({ start }) => start));
  return {
    offset,
    length,
    pieces: { starts, places: shared(list.map(({ place }) => place)), bytes },
  };
}

/** Windows of one file, one behind the other. */
export function joinWindows(windows: readonly FileWindow[]): FileWindow {
  const ranges: FileRange[] = [];
  let length = 0;
  for (const window of windows) {
    for (const range of rangesOf(window)) {
      ranges.push({ ...range, start: range.start + length });
    }
    length += window.length;
  }
  return windowOf(ranges, length, windows[0]?.offset ?? 0);
}

/** The ranges of a window that are in the file. */
function rangesOf({ length, offset, pieces }: FileWindow): FileRange[] {
  if (pieces === undefined) return [{ start: 0, place: offset, length }];
  return Array.from(pieces.starts, (start, index) => {
    const place = pieces.places[index] ?? HOLE;
    return { start, place, length: (pieces.starts[index + 1] ?? length) - start };
  }).filter(({ place }) => place !== HOLE);
}

/** The number of the piece that byte `position` of a window is in, which is not behind its end. */
export function pieceAt({ starts }: FilePieces, position: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((starts[middle] ?? 0) <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}

function shared(numbers: readonly number[]): Float64Array {
  const array = new Float64Array(new SharedArrayBuffer(8 * numbers.length));
  array.set(numbers);
  return array;
}
