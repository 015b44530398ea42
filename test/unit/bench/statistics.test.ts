import { describe, expect, test } from 'vitest';
import { median, medianRatio, rotated } from '../../bench/statistics.js';

describe('median', () => {
  test.each([
    [[7], 7],
    [[10, 9, 100], 10],
    [[4, 1, 3, 2], 2.5],
  ])('of %j is %d', (values, middle) => {
    expect(median(values)).toBe(middle);
  });

  test('leaves its argument as it was', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  test('of nothing is an error', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('medianRatio', () => {
  test('pairs the runs before it takes the median', () => {
    // A run in which everything was ten times slower; the ratio of the medians would be 0.2.
    expect(medianRatio([200, 20, 200], [100, 10, 1000])).toBe(2);
  });

  test('refuses lists of different lengths', () => {
    expect(() => medianRatio([1], [1, 2])).toThrow(RangeError);
    expect(() => medianRatio([1, 2], [1])).toThrow(RangeError);
    expect(() => medianRatio([], [])).toThrow(RangeError);
  });
});

test('rotated begins every run with another one, and keeps them all', () => {
  expect([0, 1, 2, 3].map((run) => rotated(['a', 'b', 'c'], run).join(''))).toEqual([
    ...['abc', 'bca', 'cab', 'abc'],
  ]);
  expect(rotated([], 3)).toEqual([]);
});
