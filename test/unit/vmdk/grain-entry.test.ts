import { describe, expect, test } from 'vitest';
import { GTE_UNALLOCATED, GTE_ZEROED, isAllocated } from '../../../src/vmdk/grain-entry.js';

describe('a grain table entry', () => {
  test('of 0 leads beneath, of 1 is zeros', () => {
    expect([GTE_UNALLOCATED, GTE_ZEROED]).toEqual([0, 1]);
  });

  test.each([0, 1])('of %d is not the sector of a grain', (entry) => {
    expect(isAllocated(entry)).toBe(false);
  });

  test.each([2, 128, 0x7fffffff, 0x80000000, 0xffffffff])('of %d is', (entry) => {
    expect(isAllocated(entry)).toBe(true);
  });
});
