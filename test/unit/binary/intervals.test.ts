import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  findOverlap,
  intervalsOf,
  joinIntervals,
  joinStarts,
  NO_INTERVALS,
  type Intervals,
} from '../../../src/binary/intervals.js';

/** The bytes of a set as a plain set. */
function bytesOf(intervals: Intervals): Set<number> {
  const bytes = new Set<number>();
  for (let index = 0; index < intervals.length; index += 2) {
    for (let byte = intervals[index] ?? 0; byte < (intervals[index + 1] ?? 0); byte++)
      bytes.add(byte);
  }
  return bytes;
}

const starts = fc
  .array(fc.nat(60), { maxLength: 12 })
  .map((list) => Float64Array.from(list).sort());
const intervals = fc
  .tuple(starts, fc.integer({ min: 1, max: 9 }))
  .map(([list, length]) => intervalsOf(list, length));

describe('intervals', () => {
  test('of starts that touch, overlap or repeat are joined', () => {
    expect([...intervalsOf(Float64Array.of(0, 4, 6, 6, 20), 4)]).toEqual([0, 10, 20, 24]);
    expect([...intervalsOf(Float64Array.of(), 4)]).toEqual([]);
  });

  test('hold the bytes of every start, ascending and apart', () => {
    fc.assert(
      fc.property(starts, fc.integer({ min: 1, max: 9 }), (list, length) => {
        const result = intervalsOf(list, length);
        const expected = new Set(
          [...list].flatMap((start) => Array.from({ length }, (_, index) => start + index)),
        );
        expect(bytesOf(result)).toEqual(expected);
        result.forEach((value, index) => {
          if (index > 0) expect(value).toBeGreaterThan(result[index - 1] ?? 0);
        });
      }),
    );
  });

  test('joined hold the bytes of both', () => {
    fc.assert(
      fc.property(intervals, intervals, (a, b) => {
        const result = joinIntervals(a, b);
        expect(bytesOf(result)).toEqual(new Set([...bytesOf(a), ...bytesOf(b)]));
        expect(joinIntervals(b, a)).toEqual(result);
      }),
    );
    expect(joinIntervals(NO_INTERVALS, NO_INTERVALS)).toEqual(NO_INTERVALS);
  });

  test('joined with starts hold the bytes of both', () => {
    fc.assert(
      fc.property(intervals, starts, fc.integer({ min: 1, max: 9 }), (a, list, length) => {
        const result = joinStarts(a, list.length, (index) => list[index] ?? 0, length);
        expect(result).toEqual(joinIntervals(a, intervalsOf(list, length)));
      }),
    );
  });

  test('are found where they share a byte, and only there', () => {
    fc.assert(
      fc.property(intervals, fc.nat(70), fc.integer({ min: 1, max: 9 }), (set, start, length) => {
        const bytes = bytesOf(set);
        const shares = Array.from({ length }, (_, index) => start + index).some((byte) =>
          bytes.has(byte),
        );
        const found = findOverlap(set, start, length);
        expect(found >= 0).toBe(shares);
        if (found >= 0) {
          expect(set[found]).toBeLessThan(start + length);
          expect(set[found + 1]).toBeGreaterThan(start);
        }
      }),
    );
  });
});
