/** Where QEMU 7.2 to 10.2 reads or writes wrongly: each of these fails with what it does. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { inspectCowdFile, writeCowdFile } from '../helpers/cowd-file.js';
import { contentOf, writeDisk } from '../helpers/checked.js';
import { chain, writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { inspectSparseFile, writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTOR = 512;
const GRAIN = 64 * 1024;
const EXTENT_SECTORS = 1024;
const SHAPE = { sectors: EXTENT_SECTORS, grainSectors: 128, tableEntries: 512 };

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});

describe('what QEMU gets wrong', () => {
  test('a write into the second extent of a split child is filled from the same place of the parent', () => {
    const content = pattern(2 * EXTENT_SECTORS * SECTOR, 1);
    writeFileSync(join(folder, 'base-flat.vmdk'), content);
    const base = join(folder, 'base.vmdk');
    writeDescriptor(base, [`RW ${2 * EXTENT_SECTORS} FLAT "base-flat.vmdk" 0`]);
    const lines = ['s1', 's2'].map((name) => {
      writeSparseFile(join(folder, `${name}.vmdk`), SHAPE);
      return `RW ${EXTENT_SECTORS} SPARSE "${name}.vmdk"`;
    });
    chain(image, lines, base);
    const data = Buffer.alloc(4096, 0x5a);
    const offset = EXTENT_SECTORS * SECTOR + 4096;
    writeDisk(image, data, offset);
    data.copy(content, offset);
    expect(contentOf(image).equals(content)).toBe(true);
  });

  test('a write where the directory has no table makes one, and leaves header and neighbours alone', () => {
    const sparse = join(folder, 's1.vmdk');
    const cowd = join(folder, 's2.vmdk');
    writeSparseFile(sparse, { ...SHAPE, withTables: false });
    writeCowdFile(cowd, { sectors: EXTENT_SECTORS });
    writeDescriptor(image, [
      `RW ${EXTENT_SECTORS} SPARSE "s1.vmdk"`,
      `RW ${EXTENT_SECTORS} VMFSSPARSE "s2.vmdk"`,
    ]);
    const content = Buffer.alloc(2 * EXTENT_SECTORS * SECTOR);
    for (const offset of [
      0,
      GRAIN,
      EXTENT_SECTORS * SECTOR,
      EXTENT_SECTORS * SECTOR + 99 * SECTOR,
    ]) {
      const data = pattern(SECTOR, offset);
      writeDisk(image, data, offset);
      data.copy(content, offset);
    }
    expect(contentOf(image).equals(content)).toBe(true);
    expect(peek(sparse, 0, 4).toString()).toBe('KDMV');
    expect(peek(cowd, 0, 4).toString()).toBe('COWD');
    expect(inspectSparseFile(sparse).problems).toEqual([]);
    expect(inspectCowdFile(cowd).problems).toEqual([]);
  });

  test('an entry of 0 in the redundant directory gets a table, and is not written through', () => {
    const sparse = join(folder, 's1.vmdk');
    writeSparseFile(sparse, SHAPE);
    writeDescriptor(image, [`RW ${EXTENT_SECTORS} SPARSE "s1.vmdk"`]);
    poke(sparse, Number(peek(sparse, 48, 8).readBigUInt64LE()) * SECTOR, littleEndian(0, 4));
    writeDisk(image, pattern(GRAIN, 3), GRAIN);
    expect(peek(sparse, 0, 4).toString()).toBe('KDMV');
    expect(inspectSparseFile(sparse).problems).toEqual([]);
  });

  test('a blank line before an extent line does not count the extent twice', () => {
    writeFileSync(join(folder, 'flat'), pattern(8 * SECTOR, 4));
    writeDescriptor(image, ['', '', 'RW 8 FLAT "flat" 0', '', '\t', '']);
    expect(contentOf(image).equals(readFileSync(join(folder, 'flat')))).toBe(true);
  });

  test('RDONLY, NOACCESS and ZERO extents keep their places', () => {
    const content = pattern(24 * SECTOR, 5);
    writeFileSync(join(folder, 'flat'), content);
    writeDescriptor(image, ['RDONLY 8 FLAT "flat" 0', 'RW 4 ZERO', 'RW 8 FLAT "flat" 16']);
    const zeros = Buffer.alloc(4 * SECTOR);
    const [first, last] = [content.subarray(0, 8 * SECTOR), content.subarray(16 * SECTOR)];
    expect(contentOf(image).equals(Buffer.concat([first, zeros, last]))).toBe(true);
    writeDescriptor(image, ['NOACCESS 8 FLAT "flat" 0', 'RW 8 FLAT "flat" 16']);
    expect(() => contentOf(image)).toThrow(/NOACCESS/);
  });
});
