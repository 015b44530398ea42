import { describe, expect, test } from 'vitest';
import { findSubformat, planExtents, SUBFORMATS } from '../../../src/vmdk/subformat.js';

const SECTOR = 512;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
const MIB = 2 ** 20;

/** Sizes in sectors and names of the extents of `disk.vmdk`. */
function plan(subformat: Parameters<typeof planExtents>[0], size: number, name = 'disk.vmdk') {
  return planExtents(subformat, size, name, MIB)?.map(
    ({ size: bytes, fileName }) => `${bytes / SECTOR} ${fileName}`,
  );
}

describe('findSubformat', () => {
  test.each(SUBFORMATS)('knows %s in any case', (name) => {
    expect([name, name.toLowerCase(), name.toUpperCase()].map(findSubformat)) //
      .toEqual([name, name, name]);
  });

  test('takes the other spelling of split disks', () => {
    expect(findSubformat('2GbMaxExtentSparse')).toBe('twoGbMaxExtentSparse');
    expect(findSubformat('2gbmaxextentflat')).toBe('twoGbMaxExtentFlat');
  });

  test.each(['', 'sparse', 'streamOptimized', 'custom', '2Gb', 'vmfsRDM'])('not %j', (name) => {
    expect(findSubformat(name)).toBeUndefined();
  });
});

describe('planExtents', () => {
  test.each([
    ['monolithicSparse', 'disk.vmdk'],
    ['monolithicFlat', 'disk-flat.vmdk'],
    ['twoGbMaxExtentSparse', 'disk-s001.vmdk'],
    ['twoGbMaxExtentFlat', 'disk-f001.vmdk'],
    ['vmfs', 'disk-flat.vmdk'],
    ['vmfsThin', 'disk-flat.vmdk'],
    ['vmfsPreallocated', 'disk-flat.vmdk'],
    ['vmfsEagerZeroedThick', 'disk-flat.vmdk'],
    ['vmfsSparse', 'disk-delta.vmdk'],
    ['seSparse', 'disk-sesparse.vmdk'],
  ] as const)('names the extent of %s', (subformat, name) => {
    expect(plan(subformat, SECTOR)).toEqual([`1 ${name}`]);
  });

  test('splits where VMware does', () => {
    expect(plan('twoGbMaxExtentSparse', 4192256 * SECTOR)).toEqual(['4192256 disk-s001.vmdk']);
    expect(plan('twoGbMaxExtentSparse', 4192257 * SECTOR)).toEqual([
      '4192256 disk-s001.vmdk',
      '1 disk-s002.vmdk',
    ]);
    expect(plan('twoGbMaxExtentFlat', 5 * GIB)).toEqual([
      '4193792 disk-f001.vmdk',
      '4193792 disk-f002.vmdk',
      '2098176 disk-f003.vmdk',
    ]);
    expect(plan('twoGbMaxExtentSparse', 3 * TIB)?.at(-1)).toBe('3145728 disk-s1537.vmdk');
  });

  test('keeps names whatever they are', () => {
    expect(plan('vmfs', SECTOR, 'Disk 1.VMDK')).toEqual(['1 Disk 1-flat.vmdk']);
    expect(plan('vmfs', SECTOR, 'disk')).toEqual(['1 disk-flat.vmdk']);
    expect(plan('monolithicSparse', SECTOR, 'disk.img')).toEqual(['1 disk.img']);
  });

  test.each([
    ['monolithicSparse', 2 * TIB - SECTOR],
    ['vmfsSparse', 2 * TIB - SECTOR],
    ['seSparse', 64 * TIB],
  ] as const)('holds a disk of %s to %d bytes', (subformat, limit) => {
    expect(plan(subformat, limit)).toHaveLength(1);
    expect(plan(subformat, limit + SECTOR)).toBeUndefined();
  });

  test('gives up before it names more extents than a descriptor holds', () => {
    expect(plan('twoGbMaxExtentFlat', 100 * TIB)).toBeUndefined();
    expect(plan('twoGbMaxExtentSparse', 8191 * TIB)).toBeUndefined();
  });
});
