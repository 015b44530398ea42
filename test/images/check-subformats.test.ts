/** `check` on COWD, seSparse and streams: damage at literal offsets, and what mends it. */
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  checkImageFile,
  errorAt,
  expectLasting,
  foundIn,
  repairImage,
  writeDisk,
  type ErrorPlace,
  type Found,
} from '../helpers/checked.js';
import { inspectCowdFile, writeCowdFile, type CowdPlaces } from '../helpers/cowd-file.js';
import { pattern } from '../helpers/made-disk.js';
import { writeDescriptor } from '../helpers/images.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import {
  inspectSeSparseFile,
  writeSeSparseFile,
  type SeSparsePlaces,
} from '../helpers/sesparse-file.js';
import {
  STREAM_FAMILIES,
  streamDescriptor,
  writeStreamFile,
  type StreamPlaces,
} from '../helpers/stream-file.js';
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

/** Checks that everything is mended and the file is `sound` then. */
function expectMended(sound: Buffer): void {
  expect(repairImage(image).problems.list).toEqual([]);
  expect(readFileSync(file).equals(sound)).toBe(true);
}

describe('COWD', () => {
  const SECTORS = 3 * 4096;
  const contents = new Map([0, 1, 5000].map((grain) => [grain, pattern(512, grain)]));
  let places: CowdPlaces;
  let sound: Buffer;

  beforeEach(() => {
    places = writeCowdFile(file, { sectors: SECTORS, grains: contents, preExtend: 64 * 1024 });
    writeDescriptor(image, [`RW ${SECTORS} VMFSSPARSE "extent.vmdk"`]);
    sound = readFileSync(file);
  });

  const table = (index: number): number => places.tableOffsets.get(index) ?? 0;

  test('preallocated space is no leak', () => {
    expect(found()).toEqual([]);
  });

  test.each([
    ['past the end', 0x7fffffff, 'beyond-end'],
    ['over the header', 2, 'over-metadata'],
    ['over the other table', -1, 'over-metadata'],
  ] as const)('an entry %s stays', (_name, value, kind) => {
    const entry = value < 0 ? table(1) / 512 + 3 : value;
    poke(file, table(0) + 4, littleEndian(entry, 4));
    expect(found()).toEqual([at(kind, table(0) + 4, 1, 512)]);
    expectLasting(image, file);
  });

  test('two grains in one place stay', () => {
    poke(file, table(0) + 4, peek(file, table(0), 4));
    expect(found()).toEqual([
      at('shared-grain', table(0), 0, 512),
      at('shared-grain', table(0) + 4, 1, 512),
    ]);
    expectLasting(image, file);
  });

  test.each([
    ['past the end', 0x7fffffff],
    ['over the header', 2],
  ])('a table %s stays', (_name, value) => {
    poke(file, 2048 + 4, littleEndian(value, 4));
    expect(found()).toEqual([at('directory-entry', 2052)]);
    expectLasting(image, file);
  });

  test('one table for two entries stays', () => {
    poke(file, 2048 + 4, peek(file, 2048, 4));
    expect(found()).toEqual([at('directory-entry', 2048), at('directory-entry', 2052)]);
    expectLasting(image, file);
  });

  test.each([0, 4, 16])(
    'free space that begins at sector %i, in what is used, is mended',
    (sector) => {
      poke(file, 28, littleEndian(sector, 4));
      expect(found()).toEqual([at('allocation-record', 28)]);
      expectMended(sound);
      expect(inspectCowdFile(file).problems).toEqual([]);
    },
  );

  test('free space past what is used is a leak, which is said and stays', () => {
    poke(file, 28, littleEndian(places.freeSector + 100, 4));
    expect(found()).toEqual([{ kind: 'leaked', severity: 'leak', file }]);
    expect(checkImageFile(image).problems.list[0]?.message).toMatch(/^51200 bytes /);
    expectLasting(image, file);
  });

  test('a grain that nothing leads to is a leak', () => {
    poke(file, table(0) + 4, littleEndian(0, 4));
    expect(found()).toEqual([{ kind: 'leaked', severity: 'leak', file }]);
    expect(checkImageFile(image).problems.list[0]?.message).toMatch(/^512 bytes /);
    writeDisk(image, pattern(512, 5), 512);
    expect(checkImageFile(image).problems.list[0]?.message).toMatch(/^512 bytes /);
  });

  test('the mark is taken off, and stays beside what cannot be mended', () => {
    poke(file, 1648, littleEndian(1, 4));
    expect(found()).toEqual([{ ...at('unclean', 1648), severity: 'unclean' }]);
    expectMended(sound);
    poke(file, 1648, littleEndian(1, 4));
    poke(file, table(0), littleEndian(0x7fffffff, 4));
    expectLasting(image, file);
  });

  test('a directory past the end', () => {
    poke(file, 20, littleEndian(0x7fffff, 4));
    expect(found()).toEqual([at('truncated', 0x7fffff * 512)]);
    expectLasting(image, file);
  });

  test('a header smaller than the extent line', () => {
    poke(file, 12, littleEndian(4096, 4));
    expect(found()).toContainEqual({ kind: 'capacity', severity: 'error', file });
  });
});

describe('seSparse', () => {
  const SECTORS = 3 * 4096 * 8;
  const GRAIN = 4096;
  const contents = new Map([0, 1, 4100].map((grain) => [grain, pattern(GRAIN, grain)]));
  let places: SeSparsePlaces;
  let sound: Buffer;

  beforeEach(() => {
    places = writeSeSparseFile(file, {
      sectors: SECTORS,
      grains: contents,
      unmapped: new Set([7]),
      zeroed: new Set([8]),
      trailingGrain: true,
    });
    writeDescriptor(image, [`RW ${SECTORS} SESPARSE "extent.vmdk"`]);
    sound = readFileSync(file);
  });

  const table = (index: number): number => places.tableOffsets.get(index) ?? 0;
  const BACK_TYPE = 1n << 60n;

  test('unmapped and zeroed grains, and the grain that ESXi leaves behind, are no problem', () => {
    expect(found()).toEqual([]);
  });

  test('an entry past the grains stays', () => {
    poke(file, table(0) + 8, littleEndian((3n << 60n) | (500n << 48n), 8));
    expect(found()).toEqual([at('beyond-end', table(0) + 8, 1, GRAIN)]);
    expectLasting(image, file);
  });

  test.each([
    ['of no known kind', 0xf000_0000_0000_0000n],
    ['with an index of 2^59', (3n << 60n) | 0x0000_ffff_ffff_ffffn],
  ])('an entry %s stays', (_name, value) => {
    poke(file, table(1) + 4 * 8, littleEndian(value, 8));
    expect(found()).toEqual([at('unknown-entry', table(1) + 32, 4100, GRAIN)]);
    expectLasting(image, file);
  });

  test('two grains in one place stay, and so do their records', () => {
    poke(file, table(0) + 8, peek(file, table(0), 8));
    expect(found()).toEqual([
      at('shared-grain', table(0), 0, GRAIN),
      at('shared-grain', table(0) + 8, 1, GRAIN),
    ]);
    expectLasting(image, file);
  });

  test.each([
    ['of no known kind', 0x2000_0000_0000_0000n],
    ['past the tables', 0x1000_0000_0000_ffffn],
    ['that is that of another', 0x1000_0000_0000_0000n],
  ])('a directory entry %s stays', (_name, value) => {
    poke(file, places.gdOffset + 8, littleEndian(value, 8));
    expect(found()).toEqual([at('directory-entry', places.gdOffset + 8)]);
    expectLasting(image, file);
  });

  test('the bits of grains in use are set again', () => {
    poke(file, places.bitmapOffset, Buffer.of(0));
    expect(found()).toEqual([
      at('allocation-record', places.bitmapOffset, 0, GRAIN),
      at('allocation-record', places.bitmapOffset, 1, GRAIN),
      at('allocation-record', places.bitmapOffset, 4100, GRAIN),
    ]);
    expectMended(sound);
    expect(inspectSeSparseFile(file).problems).toEqual([]);
  });

  test('grains that only the bitmap knows are a leak, which is said and stays', () => {
    poke(file, table(0) + 8, littleEndian(0, 8));
    expect(found()).toEqual([{ kind: 'leaked', severity: 'leak', file }]);
    expect(checkImageFile(image).problems.list[0]?.message).toMatch(/^4096 bytes /);
    expectLasting(image, file);
    // Those of the unmapped grain and of the one that ESXi leaves behind; the file has no others.
    poke(file, places.bitmapOffset, Buffer.of(0xff));
    expect(checkImageFile(image).problems.list[0]?.message).toMatch(/^12288 bytes /);
  });

  test('leaks are not counted where an entry is wrong', () => {
    poke(file, table(0) + 8, littleEndian((3n << 60n) | (500n << 48n), 8));
    poke(file, places.bitmapOffset, Buffer.of(0xff));
    expect(found().map(({ kind }) => kind)).toEqual(['beyond-end']);
  });

  test('the backmap is written again', () => {
    poke(file, places.backmapOffset + 8, littleEndian(BACK_TYPE | (77n << 48n), 8));
    expect(found()).toEqual([at('allocation-record', places.backmapOffset + 8, 1, GRAIN)]);
    expectMended(sound);
  });

  test.each([0n, 1n, 0xffffn, 0xffff_ffff_ffffn])('next table %i is mended', (value) => {
    poke(file, 520, littleEndian(value, 8));
    expect(found()).toEqual([at('allocation-record', 520)]);
    expectMended(sound);
    writeDisk(image, pattern(GRAIN, 9), 9000 * GRAIN);
    expect(inspectSeSparseFile(file).problems).toEqual([]);
  });

  test('a file that ends before its grains is truncated', () => {
    truncateSync(file, places.grainsOffset - 1);
    const [first] = found();
    expect(first).toEqual(at('truncated', places.grainsOffset - 1));
    expectLasting(image, file);
  });

  test('a journal to be replayed', () => {
    poke(file, 536, littleEndian(1, 8));
    expect(found()).toEqual([{ kind: 'unusable', severity: 'error', file }]);
    expectLasting(image, file);
  });
});

describe.each(STREAM_FAMILIES)('streamOptimized, %s', (family) => {
  const SECTORS = 600 * 128;
  const GRAIN = 65536;
  const contents = new Map([0, 1, 520, 599].map((grain) => [grain, pattern(GRAIN, grain)]));
  let places: StreamPlaces;

  beforeEach(() => {
    file = image;
    const descriptor = streamDescriptor(SECTORS, 'disk.vmdk');
    places = writeStreamFile(file, { family, sectors: SECTORS, grains: contents, descriptor });
  });

  const grain = (index: number): number => places.grainOffsets.get(index) ?? 0;
  const table = (index: number): number => places.tableOffsets.get(index) ?? 0;

  test('is sound', () => {
    expect(found()).toEqual([]);
  });

  test.each([
    ['data', 40, 0xff, /inflate/],
    ['size', 8, 0, /compressed bytes/],
    ['size that is too large', 11, 0x7f, /compressed bytes/],
    ['place', 0, 7, /is marked as that of offset/],
  ])('grains with a wrong %s are found, each by itself', (_name, offset, value, message) => {
    for (const index of [1, 520])
      poke(file, grain(index) + offset, Buffer.alloc(offset === 8 ? 3 : 1, value));
    expect(found()).toEqual([
      at('broken-grain', grain(1), 1, GRAIN),
      at('broken-grain', grain(520), 520, GRAIN),
    ]);
    expect(checkImageFile(image).problems.list[0]?.message).toMatch(message);
    expectLasting(image, file);
  });

  test('an entry past the end, and two for one grain', () => {
    poke(file, table(0) + 4, littleEndian(0x7fffffff, 4));
    poke(file, table(1) + 87 * 4, peek(file, table(1) + 8 * 4, 4));
    expect(found()).toEqual([
      at('beyond-end', table(0) + 4, 1, GRAIN),
      at('shared-grain', table(1) + 8 * 4, 520, GRAIN),
      at('shared-grain', table(1) + 87 * 4, 599, GRAIN),
      at('broken-grain', grain(520), 599, GRAIN),
    ]);
    expectLasting(image, file);
  });

  test('a directory entry past the end', () => {
    poke(file, places.gdOffset, littleEndian(0x7fffffff, 4));
    expect(found()).toEqual([at('directory-entry', places.gdOffset)]);
    expectLasting(image, file);
  });

  test('cut off', () => {
    truncateSync(file, grain(520) + 100);
    const kinds = new Set(found().map(({ kind }) => kind));
    expect(kinds.size).toBeGreaterThan(0);
    expect(
      [...kinds].every((kind) =>
        ['beyond-end', 'broken-grain', 'truncated', 'unusable'].includes(kind),
      ),
    ).toBe(true);
    expectLasting(image, file);
  });
});
