import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { alignDown, alignUp, isPowerOfTwo } from '../../../src/binary/alignment.js';

const value = fc.oneof(fc.nat(100_000), fc.integer({ min: 0, max: 2 ** 50 }));
const unit = fc.oneof(fc.constantFrom(1, 512, 4096, 65536), fc.integer({ min: 1, max: 10_000 }));

describe('alignUp', () => {
  test.each([
    [0, 512, 0],
    [1, 512, 512],
    [511, 512, 512],
    [512, 512, 512],
    [513, 512, 1024],
    [7, 3, 9],
    [2 ** 41 - 1, 65536, 2 ** 41],
    [2 ** 52 + 1, 65536, 2 ** 52 + 65536],
  ])('of %d to %d is %d', (from, to, expected) => {
    expect(alignUp(from, to)).toBe(expected);
  });

  test('is what integers of any size give', () => {
    fc.assert(
      fc.property(value, unit, (from, to) => {
        const [wide, step] = [BigInt(from), BigInt(to)];
        expect(BigInt(alignUp(from, to))).toBe(((wide + step - 1n) / step) * step);
      }),
    );
  });
});

describe('alignDown', () => {
  test.each([
    [0, 512, 0],
    [511, 512, 0],
    [512, 512, 512],
    [1023, 512, 512],
    [8, 3, 6],
    [2 ** 41 + 1, 65536, 2 ** 41],
    [2 ** 52 + 65535, 65536, 2 ** 52],
  ])('of %d to %d is %d', (from, to, expected) => {
    expect(alignDown(from, to)).toBe(expected);
  });

  test('is what integers of any size give', () => {
    fc.assert(
      fc.property(value, unit, (from, to) => {
        const [wide, step] = [BigInt(from), BigInt(to)];
        expect(BigInt(alignDown(from, to))).toBe((wide / step) * step);
      }),
    );
  });
});

describe('isPowerOfTwo', () => {
  const powers = Array.from({ length: 53 }, (_, exponent) => 2 ** exponent);

  test('holds for every power of two up to 2^52', () => {
    expect(powers.filter((power) => !isPowerOfTwo(power))).toEqual([]);
  });

  test('does not hold beside a power of two', () => {
    const beside = powers.slice(2).flatMap((power) => [power - 1, power + 1]);
    expect(beside.filter(isPowerOfTwo)).toEqual([]);
  });

  test.each([0, -1, -2, 0.5, 1.5, NaN, Infinity, 2 ** 53, 2 ** 63])(
    'does not hold for %d',
    (number) => {
      expect(isPowerOfTwo(number)).toBe(false);
    },
  );
});
