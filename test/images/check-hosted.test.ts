/**
 * `check` on hosted sparse extents: every damage that they can have, poked at literal offsets, what
 * is said of it, and what mending does to the bytes.
 *
 * The extent: grains of 8 KiB, tables of 128 entries, 384 grains. Sectors: header 0, redundant
 * directory 1 with tables 2 3 4, directory 5 with tables 6 7 8, grains from 16 on.
 */
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  checkImageFile,
  contentOf,
  foundIn,
  repairImage,
  writeDisk,
  type Found,
} from '../helpers/checked.js';
import { pattern } from '../helpers/disk-kinds.js';
import { writeDescriptor } from '../helpers/images.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 8192;
const SECTORS = 384 * 16;
const UNCLEAN = 72;
const RGD = 512;
const RGT = [1024, 1536, 2048] as const;
const GD = 2560;
const GT = [3072, 3584, 4096] as const;

let image: string;
let file: string;
let content: Buffer;

beforeEach(() => {
  const folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  file = join(folder, 's.vmdk');
  writeSparseFile(file, { sectors: SECTORS, grainSectors: 16, tableEntries: 128 });
  writeDescriptor(image, [`RW ${SECTORS} SPARSE "s.vmdk"`]);
  // Grains 0, 1, 2 in sectors 16, 32, 48, and grain 130 in sector 64.
  content = Buffer.alloc(SECTORS * 512);
  pattern(3 * GRAIN, 1).copy(content);
  pattern(GRAIN, 2).copy(content, 130 * GRAIN);
  writeDisk(image, content.subarray(0, 3 * GRAIN), 0);
  writeDisk(image, content.subarray(130 * GRAIN, 131 * GRAIN), 130 * GRAIN);
});

type Poke = readonly [offset: number, value: number, size?: 1 | 2 | 4 | 8];

function pokeAll(pokes: readonly Poke[]): void {
  for (const [offset, value, size = 4] of pokes) poke(file, offset, littleEndian(value, size));
}

const grainAt = (grain: number): Pick<Found, 'grain' | 'diskOffset'> => ({
  grain,
  diskOffset: grain * GRAIN,
});

const error = (kind: Found['kind'], offset: number, grain?: number): Omit<Found, 'file'> => ({
  kind,
  severity: 'error',
  offset,
  ...(grain === undefined ? {} : grainAt(grain)),
});

const unclean: Omit<Found, 'file'> = { kind: 'unclean', severity: 'unclean', offset: UNCLEAN };

/** Where the others are, the file said. */
const inFile = (found: readonly Omit<Found, 'file'>[]): Found[] =>
  found.map((each) => ({ ...each, file }));

test('the extent lies as these tests say', () => {
  expect(statSync(file).size).toBe(8192 + 4 * GRAIN);
  expect(peek(file, GT[0], 12).equals(peek(file, RGT[0], 12))).toBe(true);
  expect([...new Uint32Array(new Uint8Array(peek(file, GT[0], 12)).buffer)]).toEqual([16, 32, 48]);
  expect(peek(file, GT[1] + 8, 4).readUInt32LE()).toBe(64);
  expect(foundIn(checkImageFile(image))).toEqual([]);
});

/** Damage of one copy: what is mended from the other is as it was before, byte for byte. */
const MENDABLE: readonly [string, Poke[], Omit<Found, 'file'>[]][] = [
  ['an entry past the end', [[GT[0] + 4, 0x7fff0000]], [error('beyond-end', GT[0] + 4, 1)]],
  ['an entry at the end', [[GT[0] + 4, 80]], [error('beyond-end', GT[0] + 4, 1)]],
  ['an entry over the header', [[GT[0], 2]], [error('over-metadata', GT[0], 0)]],
  ['an entry over a table', [[GT[1] + 8, 8]], [error('over-metadata', GT[1] + 8, 130)]],
  ['a copy past the end', [[RGT[0] + 4, 0xffffffff]], [error('beyond-end', RGT[0] + 4, 1)]],
  ['a copy over the directory', [[RGT[0], 5]], [error('over-metadata', RGT[0], 0)]],
  ['an entry of an empty grain', [[GT[2], 0x7fff0000]], [error('beyond-end', GT[2], 256)]],
  ['a copy that is empty', [[RGT[0] + 8, 0]], [error('copies-differ', RGT[0] + 8, 2)]],
  ['a copy of zeros', [[RGT[0] + 8, 1]], [error('copies-differ', RGT[0] + 8, 2)]],
  ['a copy that is not empty', [[RGT[2], 64]], [error('copies-differ', RGT[2], 256)]],
  ['a primary table of 0', [[GD, 0]], [error('directory-entry', GD)]],
  ['a primary table past the end', [[GD + 4, 0x7fffffff]], [error('directory-entry', GD + 4)]],
  ['a primary table over the header', [[GD + 8, 1]], [error('directory-entry', GD + 8)]],
  ['a redundant table of 0', [[RGD, 0]], [error('directory-entry', RGD)]],
  ['a redundant table cut short', [[RGD + 4, 80]], [error('directory-entry', RGD + 4)]],
  [
    'a primary table that is a redundant one',
    [[GD, 3]],
    [error('directory-entry', GD), error('directory-entry', RGD + 4)],
  ],
  [
    'all primary tables',
    [
      [GD, 0x7fffffff],
      [GD + 4, 0x7fffffff],
      [GD + 8, 0x7fffffff],
    ],
    [
      error('directory-entry', GD),
      error('directory-entry', GD + 4),
      error('directory-entry', GD + 8),
    ],
  ],
  [
    'late copies of an image that was not closed',
    [
      [UNCLEAN, 1, 1],
      [RGT[0] + 8, 0],
      [RGD + 8, 0],
    ],
    [
      { kind: 'copies-differ', severity: 'unclean', offset: RGT[0] + 8, ...grainAt(2) },
      { kind: 'directory-entry', severity: 'unclean', offset: RGD + 8 },
      unclean,
    ],
  ],
  [
    'damage of an image that was not closed',
    [
      [UNCLEAN, 1, 1],
      [GT[0] + 4, 0x7fff0000],
    ],
    [error('beyond-end', GT[0] + 4, 1), unclean],
  ],
  ['only the mark', [[UNCLEAN, 1, 1]], [unclean]],
];

describe('damage of one copy', () => {
  test.each(MENDABLE)('%s is found, and mended from the other', (_name, pokes, expected) => {
    const sound = readFileSync(file);
    pokeAll(pokes);
    const damaged = readFileSync(file);
    const found = checkImageFile(image);
    expect(foundIn(found)).toEqual(inFile(expected));
    expect(found.mendable).toHaveLength(expected.length);
    expect(readFileSync(file).equals(damaged)).toBe(true);
    const { mended, problems } = repairImage(image);
    expect(mended).toHaveLength(expected.length);
    expect(problems.list).toEqual([]);
    expect(readFileSync(file).equals(sound)).toBe(true);
    expect(contentOf(image, false).equals(content)).toBe(true);
  });
});

/** What would be a guess. */
const LASTING: readonly [string, Poke[], Omit<Found, 'file'>[]][] = [
  [
    'an entry past the end in both tables',
    [
      [GT[0] + 4, 0x7fff0000],
      [RGT[0] + 4, 0x7fff0000],
    ],
    [error('beyond-end', GT[0] + 4, 1)],
  ],
  [
    'a table that neither directory leads to',
    [
      [GD, 0x7fffffff],
      [RGD, 1],
    ],
    [error('directory-entry', GD), error('directory-entry', RGD)],
  ],
  [
    'a redundant entry that leads nowhere beside a primary one of 0',
    [
      [GD + 8, 0],
      [RGD + 8, 1],
    ],
    [error('directory-entry', RGD + 8)],
  ],
  [
    'one table in both directories',
    [[RGD, 6]],
    [error('directory-entry', GD), error('directory-entry', RGD)],
  ],
  [
    'copies that lead to different grains',
    [[RGT[0] + 4, 48]],
    [error('copies-differ', RGT[0] + 4, 1)],
  ],
  [
    'two grains in one place',
    [
      [GT[0] + 4, 16],
      [RGT[0] + 4, 16],
    ],
    [error('shared-grain', GT[0], 0), error('shared-grain', GT[0] + 4, 1)],
  ],
  [
    'grains that overlap',
    [
      [GT[1] + 8, 63],
      [RGT[1] + 8, 63],
    ],
    [error('shared-grain', GT[0] + 8, 2), error('shared-grain', GT[1] + 8, 130)],
  ],
  [
    'an entry past the end whose copy leads to the place of another grain',
    [
      [GT[0] + 4, 0x7fff0000],
      [RGT[0] + 4, 16],
    ],
    [error('beyond-end', GT[0] + 4, 1)],
  ],
  [
    'two entries past the end whose copies lead to one place',
    [
      [GT[0] + 16, 0x7fff0000],
      [RGT[0] + 16, 80],
      [GT[0] + 20, 0x7fff0000],
      [RGT[0] + 20, 80],
    ],
    [error('beyond-end', GT[0] + 16, 4), error('beyond-end', GT[0] + 20, 5)],
  ],
  [
    'a primary directory past the end',
    [[56, 0x7fffffff, 8]],
    [error('truncated', 0x7fffffff * 512)],
  ],
  ['a redundant directory past the end', [[48, 2 ** 40, 8]], [error('truncated', 2 ** 49)]],
  ['a directory over the header', [[56, 0, 8]], [error('unusable', 0)]],
  ['one directory for both', [[48, 5, 8]], [error('unusable', 2560)]],
  [
    'a header smaller than the extent line',
    [[12, 128, 8]],
    [{ kind: 'capacity', severity: 'error' }],
  ],
  ['metadata that ends past the end', [[64, 2 ** 30, 8]], [error('truncated', 106496)]],
];

describe('what would be a guess', () => {
  test.each(LASTING)(
    '%s is found, and stays, with the mark and the leaks',
    (_name, pokes, expected) => {
      // Two grains behind the last that nothing leads to.
      appendFileSync(file, pattern(2 * GRAIN, 3));
      truncateSync(file, 106496);
      pokeAll([[UNCLEAN, 1, 1], ...pokes]);
      const damaged = readFileSync(file);
      const found = foundIn(checkImageFile(image)).filter(
        ({ kind }) => kind !== 'leaked' && kind !== 'unclean',
      );
      expect(found).toEqual(inFile(expected));
      const { mended, problems } = repairImage(image);
      expect(mended).toEqual([]);
      expect(problems.list.map(({ kind }) => kind)).toContain('unclean');
      expect(readFileSync(file).equals(damaged)).toBe(true);
    },
  );

  test('what can be mended beside it is', () => {
    appendFileSync(file, pattern(2 * GRAIN, 3));
    // Grain 0 is contradicted, the copy of grain 1 is gone.
    pokeAll([
      [UNCLEAN, 1, 1],
      [RGT[0], 80],
      [RGT[0] + 4, 0x7fff0000],
    ]);
    const expected = readFileSync(file);
    littleEndian(32, 4).copy(expected, RGT[0] + 4);
    const { mended, problems } = repairImage(image);
    expect(mended).toHaveLength(1);
    expect(problems.list.map(({ kind }) => kind)).toEqual(['copies-differ', 'leaked', 'unclean']);
    expect(readFileSync(file).equals(expected)).toBe(true);
  });
});

describe('leaked space', () => {
  test('at the end is cut off, and between grains is punched', () => {
    appendFileSync(file, pattern(2 * GRAIN + 100, 3));
    // Grain 1, in sector 32, is given up.
    pokeAll([
      [GT[0] + 4, 0],
      [RGT[0] + 4, 0],
    ]);
    const before = readFileSync(file);
    const found = checkImageFile(image);
    expect(foundIn(found)).toEqual(inFile([{ kind: 'leaked', severity: 'leak' }]));
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
    pokeAll([
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
    pokeAll([[GD, 80]]);
  }

  test('is mended with a copy at the end, one place for each', () => {
    moveTable();
    pokeAll([
      [GD + 4, 0x7fffffff],
      [GD + 8, 0x7fffffff],
    ]);
    expect(foundIn(checkImageFile(image))).toEqual(
      inFile([error('directory-entry', GD + 4), error('directory-entry', GD + 8)]),
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
    pokeAll([
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
    pokeAll([
      [RGT[2], 7],
      [GD + 4, 0x7fffffff],
      [GD + 8, 0x7fffffff],
    ]);
    repairImage(image);
    expect(peek(file, GD + 4, 4).readUInt32LE()).not.toBe(7);
  });

  test('does not make the file longer while an entry leads past its end', () => {
    moveTable();
    pokeAll([
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

test('a redundant directory that the header does not announce is not looked at', () => {
  pokeAll([
    [8, 1],
    [RGD, 0x7fffffff],
  ]);
  expect(foundIn(checkImageFile(image))).toEqual([]);
});
