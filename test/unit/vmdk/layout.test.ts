import { describe, expect, test } from 'vitest';
import {
  directoryBytes,
  grainCount,
  newLayout,
  tableBytes,
  tableCount,
  type Geometry,
} from '../../../src/vmdk/layout.js';

const SECTOR = 512;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

function geometry(capacity: number, grainSectors = 128, tableEntries = 512): Geometry {
  return { capacity, grainBytes: grainSectors * SECTOR, tableEntries };
}

describe('newLayout', () => {
  // gdOffset and overHead in sectors as VMware's and QEMU's own images have them.
  test.each([
    ['10 GiB', 10 * GIB, 1304, 2688],
    ['8 GiB', 8 * GIB, 1047, 2176],
    ['512 MiB', 512 * MIB, 86, 256],
    ['32 MiB', 32 * MIB, 26, 128],
    ['one sector', SECTOR, 26, 128],
  ])('puts the parts of %s where VMware does', (_size, capacity, gdOffset, overHead) => {
    expect(newLayout(geometry(capacity), 20 * SECTOR)).toEqual({
      descriptorOffset: SECTOR,
      descriptorBytes: 20 * SECTOR,
      rgdOffset: 21 * SECTOR,
      gdOffset: gdOffset * SECTOR,
      overHead: overHead * SECTOR,
    });
  });

  test.each([
    ['a split disk of Workstation', 8323072, 510, 1024],
    ['a grown one', 983040, 62, 128],
    ['2047 MiB', 4192256, 258, 640],
  ])('puts the tables of an extent of %s behind its header', (_name, sectors, gd, overHead) => {
    expect(newLayout(geometry(sectors * SECTOR), 0)).toEqual({
      descriptorOffset: 0,
      descriptorBytes: 0,
      rgdOffset: SECTOR,
      gdOffset: gd * SECTOR,
      overHead: overHead * SECTOR,
    });
  });

  test('begins the grains at a multiple of a larger grain', () => {
    const { overHead } = newLayout(geometry(10 * GIB, 2048), 20 * SECTOR);
    expect(overHead / SECTOR).toBe(2048);
  });
});

describe('the counts of an extent', () => {
  test.each([
    ['one sector', geometry(SECTOR), 1, 1],
    ['one grain', geometry(64 * 1024), 1, 1],
    ['one grain and a sector', geometry(64 * 1024 + SECTOR), 2, 1],
    ['one full table', geometry(32 * MIB), 512, 1],
    ['one table and a sector', geometry(32 * MIB + SECTOR), 513, 2],
    ['2 TiB less a sector', geometry(2048 * GIB - SECTOR), 2 ** 25, 65536],
    ['grains of 4 KiB', geometry(32 * MIB, 8), 8192, 16],
    ['tables of 128 entries', geometry(32 * MIB, 128, 128), 512, 4],
  ])('%s', (_name, extent, grains, tables) => {
    expect(grainCount(extent)).toBe(grains);
    expect(tableCount(extent)).toBe(tables);
  });
});

describe('the sizes of directory and tables', () => {
  test.each([
    [128, 1],
    [129, 2],
    [320, 3],
  ])('a directory of %d entries takes %d sectors', (tables, sectors) => {
    expect(directoryBytes(geometry(tables * 32 * MIB))).toBe(sectors * SECTOR);
  });

  test.each([
    [512, 4],
    [256, 2],
    [128, 1],
  ])('a table of %d entries takes %d sectors', (entries, sectors) => {
    expect(tableBytes(geometry(GIB, 128, entries))).toBe(sectors * SECTOR);
  });
});
