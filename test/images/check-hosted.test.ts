/**
 * `check` on hosted sparse extents: every damage that they can have, poked at literal offsets, what
 * is said of it, and what mending does to the bytes. Where is what: `small-extent.ts`.
 */
import { appendFileSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { checkImageFile, contentOf, foundIn, repairImage, type Found } from '../helpers/checked.js';
import { pattern } from '../helpers/made-disk.js';
import { littleEndian, peek } from '../helpers/poke.js';
import {
  GD,
  GRAIN,
  GT,
  makeSmallDisk,
  pokeAll,
  RGD,
  RGT,
  UNCLEAN,
  type Poke,
} from '../helpers/small-extent.js';

let image: string;
let file: string;
let content: Buffer;

beforeEach(() => {
  ({ content, file, image } = makeSmallDisk());
});

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
    pokeAll(file, pokes);
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

test('a copy that leads to a grain where its table leads nowhere may be the last trace of it', () => {
  pokeAll(file, [[RGT[2], 64]]);
  const damaged = readFileSync(file);
  expect(foundIn(checkImageFile(image))).toEqual(inFile([error('copies-differ', RGT[2], 256)]));
  expect(repairImage(image).mended).toEqual([]);
  expect(readFileSync(file).equals(damaged)).toBe(true);
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
      pokeAll(file, [[UNCLEAN, 1, 1], ...pokes]);
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
    pokeAll(file, [
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

test('a redundant directory that the header does not announce is not looked at', () => {
  pokeAll(file, [
    [8, 1],
    [RGD, 0x7fffffff],
  ]);
  expect(foundIn(checkImageFile(image))).toEqual([]);
});
