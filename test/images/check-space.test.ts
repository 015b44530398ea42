/** `check` on hosted extents: leaked space, and where tables go that are mended. */
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { checkImageFile, contentOf, foundIn, repairImage, writeDisk } from '../helpers/checked.js';
import { pattern } from '../helpers/made-disk.js';
import { writeDescriptor } from '../helpers/images.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { GD, GRAIN, GT, makeSmallDisk, pokeAll, RGT } from '../helpers/small-extent.js';
import { writeSparseFile } from '../helpers/sparse-file.js';

let image: string;
let file: string;
let content: Buffer;

beforeEach(() => {
  ({ content, file, image } = makeSmallDisk());
});

describe('leaked space', () => {
  test('at the end is cut off, and between grains is punched', () => {
    appendFileSync(file, pattern(2 * GRAIN + 100, 3));
    // Grain 1, in sector 32, is given up.
    pokeAll(file, [
      [GT[0] + 4, 0],
      [RGT[0] + 4, 0],
    ]);
    const before = readFileSync(file);
    const found = checkImageFile(image);
    expect(foundIn(found)).toEqual([{ kind: 'leaked', severity: 'leak', file }]);
    expect(found.problems.list[0]?.message).toContain(`${3 * GRAIN + 100} bytes`);
    expect(repairImage(image).problems.list).toEqual([]);
    const after = before.subarray(0, 8192 + 4 * GRAIN);
    after.fill(0, 32 * 512, 48 * 512);
    expect(readFileSync(file).equals(after)).toBe(true);
    content.fill(0, GRAIN, 2 * GRAIN);
    expect(contentOf(image, false).equals(content)).toBe(true);
  });

  test('smaller than a grain is none, nor is a last grain that is cut short', () => {
    appendFileSync(file, pattern(GRAIN - 1, 3));
    expect(foundIn(checkImageFile(image))).toEqual([]);
    truncateSync(file, 8192 + 4 * GRAIN - 512);
    expect(foundIn(checkImageFile(image))).toEqual([]);
  });

  test('around grains that are not aligned leaves them alone', () => {
    const data = pattern(GRAIN, 4);
    writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.alloc(3 * GRAIN, 0xee)]));
    poke(file, 85 * 512, data);
    pokeAll(file, [
      [GT[2], 85],
      [RGT[2], 85],
    ]);
    data.copy(content, 256 * GRAIN);
    expect(repairImage(image).problems.list).toEqual([]);
    expect(statSync(file).size).toBe(85 * 512 + GRAIN);
    expect(contentOf(image).equals(content)).toBe(true);
  });

  test('is not where tables are that a repair brings back, however small the grains are', () => {
    // Tables of one sector, grains of one sector: each missing table is as large as a grain.
    const shape = { sectors: 128 * 64, grainSectors: 1, tableEntries: 128 };
    writeSparseFile(file, shape);
    writeDescriptor(image, [`RW ${shape.sectors} SPARSE "s.vmdk"`]);
    writeDisk(image, pattern(shape.sectors * 512, 5), 0);
    const sound = readFileSync(file);
    const directory = Number(peek(file, 56, 8).readBigUInt64LE()) * 512;
    poke(file, directory, Buffer.alloc(64 * 4, 0xff));
    expect(repairImage(image).mended).toHaveLength(64);
    expect(readFileSync(file).equals(sound)).toBe(true);
  });
});

describe('a table that is not laid out as VMware does', () => {
  /** Table 0 of the directory is moved behind the grains, so that no place is known for the others. */
  function moveTable(): void {
    appendFileSync(file, Buffer.concat([peek(file, GT[0], 512), Buffer.alloc(GRAIN - 512)]));
    pokeAll(file, [[GD, 80]]);
  }

  test('is mended with a copy at the end, one place for each', () => {
    moveTable();
    pokeAll(file, [
      [GD + 4, 0x7fffffff],
      [GD + 8, 0x7fffffff],
    ]);
    expect(foundIn(checkImageFile(image))).toEqual(
      [GD + 4, GD + 8].map((offset) => ({
        kind: 'directory-entry',
        severity: 'error',
        file,
        offset,
      })),
    );
    expect(repairImage(image).problems.list).toEqual([]);
    expect(peek(file, GD + 4, 8)).toEqual(
      Buffer.concat([littleEndian(96, 4), littleEndian(112, 4)]),
    );
    expect(peek(file, 96 * 512, 512).equals(peek(file, RGT[1], 512))).toBe(true);
    expect(peek(file, 112 * 512, 512).equals(peek(file, RGT[2], 512))).toBe(true);
    expect(contentOf(image, false).equals(content)).toBe(true);
  });

  test('is not put over a last grain that the end of the file cuts short', () => {
    moveTable();
    // Grain 256 begins in the middle of a grain's place, one sector of it is in the file.
    truncateSync(file, 104 * 512 + 512);
    poke(file, 104 * 512, Buffer.alloc(512, 7));
    pokeAll(file, [
      [GT[2], 104],
      [RGT[2], 104],
      [GD + 4, 0x7fffffff],
    ]);
    content.fill(7, 256 * GRAIN, 256 * GRAIN + 512);
    expect(repairImage(image).mended.length).toBeGreaterThan(0);
    expect(contentOf(image, false).equals(content)).toBe(true);
  });

  test('is not put where a grain is', () => {
    // Grain 256 lies where table 1 was laid out, and over table 2.
    pokeAll(file, [
      [RGT[2], 7],
      [GD + 4, 0x7fffffff],
      [GD + 8, 0x7fffffff],
    ]);
    repairImage(image);
    expect(peek(file, GD + 4, 4).readUInt32LE()).not.toBe(7);
  });

  test('does not make the file longer while an entry leads past its end', () => {
    moveTable();
    pokeAll(file, [
      [GD + 4, 0x7fffffff],
      [GT[0] + 4, 0x7fff0000],
      [RGT[0] + 4, 0x7fff0000],
      [80 * 512 + 4, 0x7fff0000],
    ]);
    const before = readFileSync(file);
    expect(repairImage(image).mended).toEqual([]);
    expect(readFileSync(file).equals(before)).toBe(true);
  });
});
