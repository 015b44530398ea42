/** `check` on plain extents, what a descriptor says, chains and archives. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import {
  checkImageFile,
  contentOf,
  errorAt,
  expectLasting,
  foundIn,
  repairImage,
  writeDisk,
  type ErrorPlace,
  type Found,
} from '../helpers/checked.js';
import { pattern } from '../helpers/made-disk.js';
import { chain, writeDescriptor } from '../helpers/images.js';
import { writeOva } from '../helpers/ova-file.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { streamDescriptor, writeStreamFile } from '../helpers/stream-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

let folder: string;
let image: string;
let file: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  file = join(folder, 'extent.vmdk');
});

const found = (): Found[] => foundIn(checkImageFile(image));

const at = (...error: ErrorPlace): Found => errorAt(file, ...error);

describe('plain extents, chains and archives', () => {
  test('a flat extent that is too short is not made longer', () => {
    writeFileSync(file, Buffer.alloc(1000));
    writeDescriptor(image, ['RW 4 FLAT "extent.vmdk" 0']);
    expect(found()).toEqual([at('truncated', 1000)]);
    expectLasting(image, file);
  });

  test('files that are missing, or something else', () => {
    writeDescriptor(image, ['RW 4 FLAT "gone.vmdk" 0', 'RW 8 SPARSE "extent.vmdk"']);
    writeFileSync(file, Buffer.alloc(4096, 1));
    expect(found()).toEqual([
      { kind: 'unusable', severity: 'error', file: image },
      { kind: 'unusable', severity: 'error', file },
    ]);
  });

  test('a capacity whose tables are too many', () => {
    writeSparseFile(file, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
    writeDescriptor(image, ['RW 6144 SPARSE "extent.vmdk"']);
    poke(file, 12, littleEndian(2n ** 43n, 8));
    expect(found()).toEqual([{ kind: 'unusable', severity: 'error', file }]);
  });

  test('a file that two extents use is not mended', () => {
    writeSparseFile(file, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
    writeDescriptor(image, ['RW 6144 SPARSE "extent.vmdk"', 'RW 16 FLAT "extent.vmdk" 0']);
    poke(file, 72, Buffer.of(1));
    expect(found()).toContainEqual({ kind: 'unusable', severity: 'error', file });
    expectLasting(image, file);
  });

  test('an extent that may not be written is not mended', () => {
    writeSparseFile(file, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
    writeDescriptor(image, ['RDONLY 6144 SPARSE "extent.vmdk"']);
    poke(file, 72, Buffer.of(1));
    expect(found()).toHaveLength(1);
    expectLasting(image, file);
  });

  test('problems of an extent say where they are on the disk', () => {
    writeFileSync(join(folder, 'flat.vmdk'), Buffer.alloc(1024));
    writeSparseFile(file, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
    writeDescriptor(image, ['RW 2 FLAT "flat.vmdk" 0', 'RW 6144 SPARSE "extent.vmdk"']);
    poke(file, 3072 + 8, littleEndian(0x7fffffff, 4));
    expect(found()).toEqual([{ ...at('beyond-end', 3080, 2, 8192), diskOffset: 1024 + 2 * 8192 }]);
  });

  /** A child of a parent in an extent of its own. */
  function newChain(): { child: string; parent: string; parentFile: string } {
    const parent = join(folder, 'base.vmdk');
    const parentFile = join(folder, 'base-s001.vmdk');
    writeSparseFile(parentFile, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
    writeDescriptor(parent, ['RW 6144 SPARSE "base-s001.vmdk"']);
    writeSparseFile(file, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
    chain(image, ['RW 6144 SPARSE "extent.vmdk"'], parent);
    return { child: image, parent, parentFile };
  }

  test('a parent that was modified, or is gone', () => {
    const { parent } = newChain();
    expect(found()).toEqual([]);
    const text = readFileSync(parent, 'latin1');
    writeFileSync(parent, text.replace('CID=12345678', 'CID=12345679'));
    expect(found()).toEqual([{ kind: 'cid-mismatch', severity: 'error', file: image }]);
    writeFileSync(image, readFileSync(image, 'latin1').replace('base.vmdk', 'gone.vmdk'));
    expect(found()).toEqual([{ kind: 'unusable', severity: 'error', file: image }]);
  });

  test('damage of a parent is found and never mended, that of the child is', () => {
    const { parentFile } = newChain();
    poke(parentFile, 3072, littleEndian(0x7fffffff, 4));
    poke(file, 3072, littleEndian(0x7fffffff, 4));
    const before = readFileSync(parentFile);
    expect(found()).toHaveLength(2);
    const { mended, problems } = repairImage(image);
    expect(mended.map((problem) => problem.file)).toEqual([file]);
    expect(problems.list.map((problem) => problem.file)).toEqual([parentFile]);
    expect(readFileSync(parentFile).equals(before)).toBe(true);
  });

  test('a chain without a base', () => {
    newChain();
    writeFileSync(join(folder, 'base.vmdk'), readFileSync(image));
    expect(found()).toContainEqual({
      kind: 'unusable',
      severity: 'error',
      file: join(folder, 'base.vmdk'),
    });
  });

  test('a disk in an archive is checked, and cannot be mended', () => {
    const shape = {
      family: 'footer',
      sectors: 256,
      grains: new Map([[1, pattern(65536, 1)]]),
    } as const;
    const places = writeStreamFile(file, { ...shape, descriptor: streamDescriptor(256, 'x.vmdk') });
    const bytes = readFileSync(file);
    const ova = join(folder, 'disk.ova');
    const ovf = Buffer.from('<Envelope/>');
    writeOva(ova, [
      { name: 'x.ovf', bytes: ovf },
      { name: 'x.vmdk', bytes },
    ]);
    expect(foundIn(checkImageFile(ova))).toEqual([]);
    bytes.fill(
      0xff,
      (places.grainOffsets.get(1) ?? 0) + 30,
      (places.grainOffsets.get(1) ?? 0) + 40,
    );
    writeOva(ova, [
      { name: 'x.ovf', bytes: ovf },
      { name: 'x.vmdk', bytes },
    ]);
    expect(foundIn(checkImageFile(ova)).map(({ kind }) => kind)).toEqual(['broken-grain']);
    expect(() => repairImage(ova)).toThrow(VmdkError);
  });

  test('images of our own making are mended too', () => {
    createImage(image, { size: 2 ** 28, backing: undefined });
    writeDisk(image, pattern(200_000, 1), 5);
    const sound = readFileSync(image);
    const directory = Number(peek(image, 56, 8).readBigUInt64LE()) * 512;
    poke(image, directory, littleEndian(0x7fffffff, 4));
    poke(image, 72, Buffer.of(1));
    expect(repairImage(image).problems.list).toEqual([]);
    expect(readFileSync(image).equals(sound)).toBe(true);
    expect(contentOf(image, false).subarray(5, 200_005).equals(pattern(200_000, 1))).toBe(true);
    expect(statSync(image).size).toBe(sound.length);
  });
});
