import { describe, expect, test } from 'vitest';
import { formatCid, isCutOffCid, mergedCids, newCid, parseCid } from '../../../src/vmdk/cid.js';

describe('parseCid', () => {
  test.each([
    ['12345678', 0x12345678],
    ['77161c8', 0x077161c8], // as QEMU writes it
    ['0', 0],
    ['DeadBeef', 0xdeadbeef],
    ['fffffffe', 0xfffffffe],
    ['ffffffff', 0xffffffff],
  ])('reads %s', (text, cid) => {
    expect(parseCid(text)).toBe(cid);
  });

  test('gives undefined where there is none', () => {
    expect(parseCid(undefined)).toBeUndefined();
  });

  test.each(['', '123456789', '1234567890', '0x123456', 'xyz', '12 34', '-1', ' 1', '1\n'])(
    'gives undefined for %j, which is none',
    (text) => {
      expect(parseCid(text)).toBeUndefined();
    },
  );
});

describe('formatCid', () => {
  test.each([
    [0x077161c8, '077161c8'],
    [0xdeadbeef, 'deadbeef'],
    [1, '00000001'],
    [0xffffffff, 'ffffffff'],
  ])('of %d is %s', (cid, text) => {
    expect(formatCid(cid)).toBe(text);
  });
});

describe('newCid', () => {
  /** Gives `values` one after the other; runs out where too many are asked for. */
  function sequence(...values: number[]): () => number {
    return () => {
      const value = values.shift();
      if (value === undefined) throw new Error('no more numbers');
      return value;
    };
  }

  test('takes the first number that is neither reserved, nor 0, nor the one before', () => {
    const random = sequence(0, 0xffffffff, 0xfffffffe, 0x12345678, 0xfffffffd, 5);
    expect(newCid(0x12345678, random)).toBe(0xfffffffd);
  });

  test('takes any number where there was none before', () => {
    expect(newCid(undefined, sequence(1))).toBe(1);
  });
});

describe('mergedCids', () => {
  // Whoever finds them on disk may be another version of the program: they never change.
  test('follow from the CID of the child alone', () => {
    expect(mergedCids(0x0badcafe, 8).map(formatCid)).toEqual(['1959c79c', '9f5f0576']);
  });

  test.each([1, 2, 5, 7, 8])('are two that can be used, of at most %d digits', (digits) => {
    for (let cid = 1; cid < 3000; cid++) {
      const [one, other] = mergedCids(cid, digits);
      expect(one).not.toBe(other);
      for (const merged of [one, other]) {
        expect(merged).toBeGreaterThan(0);
        expect(merged).toBeLessThan(Math.min(16 ** digits, 0xfffffffe));
      }
    }
  });
});

describe('isCutOffCid', () => {
  const cids = [0x11111111, 0x22222222, 0x33333333];

  test.each([0x11111111, 0x33333333, 0x11122222, 0x21111111, 0x33333331])('takes %i', (found) => {
    expect(isCutOffCid(found, cids)).toBe(true);
  });

  test.each([0x44444444, 0x11222111, 0x11223333, 0x11111112 + 2])('refuses %i', (found) => {
    expect(isCutOffCid(found, cids)).toBe(false);
  });
});
