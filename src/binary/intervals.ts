/**
 * Sets of byte ranges as typed arrays, because a hostile directory can name millions of them: first
 * byte and end of each range, ascending, none touching the next.
 */
export type Intervals = Float64Array;

/** No range at all. */
export const NO_INTERVALS: Intervals = new Float64Array(0);

/** Ranges of `length` bytes each at `starts`, which ascend; ranges that touch or overlap become one. */
export function intervalsOf(starts: Float64Array, length: number): Intervals {
  const result = new Float64Array(2 * starts.length);
  let end = 0;
  for (const start of starts) end = append(result, end, start, start + length);
  return result.slice(0, end);
}

/** All bytes of both. */
export function joinIntervals(a: Intervals, b: Intervals): Intervals {
  const result = new Float64Array(a.length + b.length);
  let end = 0;
  for (let left = 0, right = 0; left < a.length || right < b.length;) {
    if ((a[left] ?? Infinity) <= (b[right] ?? Infinity)) {
      end = append(result, end, a[left] ?? 0, a[left + 1] ?? 0);
      left += 2;
    } else {
      end = append(result, end, b[right] ?? 0, b[right + 1] ?? 0);
      right += 2;
    }
  }
  return result.slice(0, end);
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
