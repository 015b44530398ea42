/**
 * Sets of byte ranges as typed arrays, because a hostile directory can name millions of them: first
 * byte and end of each range, ascending, none touching the next.
 */
export type Intervals = Float64Array;

/** No range at all. */
export const NO_INTERVALS: Intervals = new Float64Array(0);

/** Ranges of `length` bytes each at `starts`, which ascend; ranges that touch or overlap become one. */
export function intervalsOf(starts: Float64Array, length: number): Intervals {
  return joinStarts(NO_INTERVALS, starts.length, (index) => starts[index] ?? 0, length);
}

/** All bytes of both. */
export function joinIntervals(a: Intervals, b: Intervals): Intervals {
  return collect((add) => {
    for (let left = 0, right = 0; left < a.length || right < b.length;) {
      if ((a[left] ?? Infinity) <= (b[right] ?? Infinity)) {
        add(a[left] ?? 0, a[left + 1] ?? 0);
        left += 2;
      } else {
        add(b[right] ?? 0, b[right + 1] ?? 0);
        right += 2;
      }
    }
  });
}

/**
 * All bytes of `intervals` and of `count` ranges of `length` bytes each, of which `startOf` says where
 * they begin, ascending. There may be millions of these: nothing is kept of each.
 */
export function joinStarts(
  intervals: Intervals,
  count: number,
  startOf: (index: number) => number,
  length: number,
): Intervals {
  return collect((add) => {
    let left = 0;
    for (let index = 0; index < count; index++) {
      const start = startOf(index);
      for (; (intervals[left] ?? Infinity) <= start; left += 2) {
        add(intervals[left] ?? 0, intervals[left + 1] ?? 0);
      }
      add(start, start + length);
    }
    for (; left < intervals.length; left += 2) add(intervals[left] ?? 0, intervals[left + 1] ?? 0);
  });
}

/** What `walk` adds, in ascending order; it is walked twice, so that no more is allocated than stays. */
function collect(walk: (add: (start: number, stop: number) => void) => void): Intervals {
  let count = 0;
  let last = -1;
  walk((start, stop) => {
    if (start > last) count += 1;
    last = Math.max(last, stop);
  });
  const result = new Float64Array(2 * count);
  let end = 0;
  walk((start, stop) => {
    end = append(result, end, start, stop);
  });
  return result;
}

/** Adds a range that begins behind all others, or widens the last; returns where the next goes. */
function append(intervals: Intervals, end: number, start: number, stop: number): number {
  const last = end > 0 ? (intervals[end - 1] ?? 0) : -1;
  if (start <= last) {
    intervals[end - 1] = Math.max(last, stop);
    return end;
  }
  intervals[end] = start;
  intervals[end + 1] = stop;
  return end + 2;
}

/** Index in `intervals` of the first range that has a byte of `[start, start + length)`, or -1. */
export function findOverlap(intervals: Intervals, start: number, length: number): number {
  let low = 0;
  let high = intervals.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((intervals[2 * middle + 1] ?? 0) <= start) low = middle + 1;
    else high = middle;
  }
  const first = intervals[2 * low];
  return first !== undefined && first < start + length ? 2 * low : -1;
}
