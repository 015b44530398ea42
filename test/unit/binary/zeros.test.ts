import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isZero } from '../../../src/binary/zeros.js';

const KIB = 1024;

describe('isZero', () => {
  test.each([0, 1, 15, 16, 17, 512, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 200 * KIB])(
    'holds for %d bytes of zeros',
    (length) => {
      expect(isZero(new Uint8Array(length), 0, length)).toBe(true);
    },
  );

  // The first bytes, the borders of the probe, of a block of 64 KiB and of the whole.
  test.each([0, 1, 15, 16, 17, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, 200 * KIB - 1])(
    'sees one bit at byte %d',
    (position) => {
      const source = new Uint8Array(200 * KIB);
      source[position] = 0x80;
      expect(isZero(source, 0, source.length)).toBe(false);
    },
  );

  test('looks neither before nor behind its range', () => {
    const source = new Uint8Array(100 * KIB).fill(0xff);
    source.fill(0, 1000, 90_000);
    expect(isZero(source, 1000, 89_000)).toBe(true);
    expect(isZero(source, 999, 89_000)).toBe(false);
    expect(isZero(source, 1000, 89_001)).toBe(false);
  });

  test('counts from the start of a part of a buffer', () => {
    const whole = new Uint8Array(4 * KIB);
    whole.fill(0xff, 0, KIB);
    const part = whole.subarray(KIB);
    expect(isZero(part, 0, part.length)).toBe(true);
    expect(isZero(whole.subarray(KIB - 1), 0, KIB)).toBe(false);
  });

  test('reads shared memory', () => {
    const source = new Uint8Array(new SharedArrayBuffer(KIB));
    expect(isZero(source, 0, KIB)).toBe(true);
    source[700] = 1;
    expect(isZero(source, 0, KIB)).toBe(false);
  });

  test('agrees with a look at every byte', () => {
    const sparse = fc.array(fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 1), { maxLength: 60 });
    fc.assert(
      fc.property(sparse, fc.nat(20), (array, start) => {
        const offset = Math.min(start, array.length);
        const expected = array.slice(offset).every((byte) => byte === 0);
        expect(isZero(Uint8Array.from(array), offset, array.length - offset)).toBe(expected);
      }),
    );
  });
});
