import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeDirectoryEntry,
  encodeBackMapEntry,
  encodeDirectoryEntry,
  encodeGrainEntry,
  SeSparseKind,
  seSparseIndex,
  seSparseKind,
} from '../../../src/vmdk/se-sparse-entry.js';

/** The words of an entry, low and high, as a DataView gives them. */
function words(entry: bigint): [low: number, high: number] {
  return [Number(entry & 0xffffffffn), Number(entry >> 32n)];
}

function entryOf([low, high]: readonly [number, number]): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

describe('a grain table entry', () => {
  test.each([
    [0x0000_0000_0000_0000n, SeSparseKind.UNALLOCATED],
    [0x1000_0000_0000_0000n, SeSparseKind.UNMAPPED],
    [0x1234_0000_0000_0001n, SeSparseKind.UNMAPPED],
    [0x2000_0000_0000_0000n, SeSparseKind.ZEROED],
    [0x3000_0000_0000_0000n, SeSparseKind.ALLOCATED],
    [0x3fff_ffff_ffff_ffffn, SeSparseKind.ALLOCATED],
  ])('%s is of kind %d', (entry, kind) => {
    expect(seSparseKind(...words(entry), 'x')).toBe(kind);
  });

  test.each([
    [0x0000_0000_0000_0001n, '0000000000000001'],
    [0x0fff_0000_0000_0000n, '0fff000000000000'],
    [0x0000_0000_8000_0000n, '0000000080000000'],
    [0x4000_0000_0000_0000n, '4000000000000000'],
    [0xffff_ffff_ffff_ffffn, 'ffffffffffffffff'],
  ])('%s is of no kind', (entry, digits) => {
    const kind = () => seSparseKind(...words(entry), 'x-sesparse.vmdk');
    expect(kind).toThrow(expect.objectContaining({ code: 'VMDK_BAD_GRAIN' }));
    expect(kind).toThrow(`0x${digits} is of no known kind`);
  });

  test.each([
    [0x3000_0000_0000_0000n, 0],
    [0x3001_0000_0000_0000n, 1],
    [0x3fff_0000_0000_0000n, 4095],
    [0x3000_0000_0000_0001n, 4096],
    [0x3234_0000_0001_0000n, 0x1000_0234],
    [0x3000_0000_ffff_ffffn, 0xfff_ffff_f000],
    [0x3fff_01ff_ffff_ffffn, Number.MAX_SAFE_INTEGER],
  ])('%s has index %d', (entry, index) => {
    expect(seSparseIndex(...words(entry), 'x')).toBe(index);
    expect(entryOf(encodeGrainEntry(SeSparseKind.ALLOCATED, index))).toBe(entry);
  });

  test.each([0x3000_0200_0000_0000n, 0x3fff_ffff_ffff_ffffn])('%s is too far', (entry) => {
    const index = () => seSparseIndex(...words(entry), 'x');
    expect(index).toThrow(expect.objectContaining({ code: 'VMDK_BAD_GRAIN' }));
    expect(index).toThrow('leads outside the file');
  });

  test('is shuffled as 64-bit arithmetic has it, and read back', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.constantFrom(1, 2, 3), (index, kind) => {
        const wide = BigInt(index);
        const expected = (BigInt(kind) << 60n) | ((wide & 0xfffn) << 48n) | (wide >> 12n);
        const entry = encodeGrainEntry(kind, index);
        expect(entryOf(entry)).toBe(expected);
        expect(seSparseKind(...entry, 'x')).toBe(kind);
        expect(seSparseIndex(...entry, 'x')).toBe(index);
      }),
    );
  });
});

describe('a backmap entry', () => {
  test('is shuffled in the same way', () => {
    expect(entryOf(encodeBackMapEntry(0))).toBe(0x1000_0000_0000_0000n);
    expect(entryOf(encodeBackMapEntry(0x12345))).toBe(0x1345_0000_0000_0012n);
  });
});

describe('a directory entry', () => {
  test.each([
    [0n, undefined],
    [0x1000_0000_0000_0000n, 0],
    [0x1000_0000_0000_1234n, 0x1234],
    [0x1000_0000_ffff_ffffn, 0xffffffff],
  ])('%s names table %s', (entry, table) => {
    expect(decodeDirectoryEntry(...words(entry), 'x')).toBe(table);
    if (table !== undefined) expect(entryOf(encodeDirectoryEntry(table))).toBe(entry);
  });

  test.each([1n, 0x1000_0001_0000_0000n, 0x2000_0000_0000_0000n, 0x9000_0000_0000_0000n])(
    '%s is refused',
    (entry) => {
      expect(() => decodeDirectoryEntry(...words(entry), 'x')).toThrow(
        expect.objectContaining({ code: 'VMDK_BAD_DIRECTORY' }),
      );
    },
  );
});
