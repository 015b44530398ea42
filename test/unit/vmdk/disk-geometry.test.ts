import { describe, expect, test } from 'vitest';
import { diskGeometry } from '../../../src/vmdk/disk-geometry.js';

const SECTOR = 512;
const GIB = 2 ** 30;

describe('diskGeometry', () => {
  test.each([
    ['one sector', SECTOR, 'lsilogic', 1, 64, 32],
    ['100 MiB', 100 * 2 ** 20, 'lsilogic', 100, 64, 32],
    ['a sector below 1 GiB', GIB - SECTOR, 'buslogic', 1023, 64, 32],
    ['1 GiB', GIB, 'lsilogic', 512, 128, 32],
    ['a sector below 2 GiB', 2 * GIB - SECTOR, 'legacyESX', 1023, 128, 32],
    ['2 GiB', 2 * GIB, 'lsilogic', 261, 255, 63],
    ['10 GiB', 10 * GIB, 'lsilogic', 1305, 255, 63],
    ['2 TiB', 2048 * GIB, 'lsilogic', 267349, 255, 63],
    ['one sector', SECTOR, 'ide', 1, 16, 63],
    ['1 GiB', GIB, 'ide', 2080, 16, 63],
    ['the largest that ATA can announce', 16383 * 1008 * SECTOR, 'ide', 16383, 16, 63],
    ['a cylinder more', 16384 * 1008 * SECTOR, 'ide', 16383, 16, 63],
  ] as const)('of %s (%d bytes) at %s', (_name, size, adapter, cylinders, heads, sectors) => {
    expect(diskGeometry(size, adapter)).toEqual({ cylinders, heads, sectors });
  });
});
