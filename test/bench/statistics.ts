/**
 * The middle value; of an even count the mean of the two in the middle.
 *
 * @throws RangeError for no values
 */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const high = sorted[Math.floor(sorted.length / 2)];
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  if (low === undefined || high === undefined) throw new RangeError('no values');
  return (low + high) / 2;
}

/**
 * The median of the ratios of each run: what a run does to both sides does not count.
 *
 * @throws RangeError for lists that are empty or not equally long
 */
export function medianRatio(tops: readonly number[], bottoms: readonly number[]): number {
  return median(
    tops.map((top, run) => {
      const bottom = bottoms[run];
      if (bottom === undefined || tops.length !== bottoms.length) {
        throw new RangeError('lists of different lengths');
      }
      return top / bottom;
    }),
  );
}

/** The list, begun `by` places later; what stood before follows at the end. */
export function rotated<T>(list: readonly T[], by: number): T[] {
  const start = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
