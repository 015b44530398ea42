import { expect, test } from 'vitest';
import { formatDuration, localTime } from '../../../src/cli/time.js';

test.each([
  [0, '0 us'],
  [0.25, '0.25 us'],
  [12.345, '12.3 us'],
  [999.4, '999 us'],
  [999.9, '1 ms'],
  [1500, '1.5 ms'],
  [999_999, '1 s'],
  [137_000_000, '137 s'],
])('%d microseconds are %s', (microseconds, text) => {
  expect(formatDuration(microseconds)).toBe(text);
});

test('a time is shown as people write it', () => {
  expect(localTime('2026-03-04T05:06:07.890Z')).toMatch(/^2026-03-0[345] \d\d:\d\d:07$/);
  expect(localTime('no time')).toBe('Invalid Date');
});
