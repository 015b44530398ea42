/** `check` looks inside streams whose footer, directory or tables are damaged, beyond that damage. */
import { openSync, closeSync, ftruncateSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { checkImageFile, errorAt, expectLasting, foundIn, type Found } from '../helpers/checked.js';
import { pattern } from '../helpers/made-disk.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import {
  STREAM_FAMILIES,
  streamDescriptor,
  writeStreamFile,
  type StreamPlaces,
  type StreamShape,
} from '../helpers/stream-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTORS = 600 * 128;
const GRAIN = 65536;
const NUMBERS = [0, 1, 2, 520, 521, 599];

let file: string;
let places: StreamPlaces;

function make(family: StreamShape['family'], more: Partial<StreamShape> = {}): void {
  file = join(tempFolder(), 'disk.vmdk');
  const grains = new Map(NUMBERS.map((grain) => [grain, pattern(GRAIN, grain)]));
  const descriptor = streamDescriptor(SECTORS, 'disk.vmdk');
  // Level 0: every grain takes many sectors.
  const shape = { family, sectors: SECTORS, grains, descriptor, level: 0 };
  places = writeStreamFile(file, { ...shape, ...more });
}

const grain = (number: number): number => places.grainOffsets.get(number) ?? 0;
const broken = (number: number): Found =>
  errorAt(file, 'broken-grain', grain(number), number, GRAIN);

/** The problems that are said of grains; nothing is ever mended. */
function brokenGrains(): Found[] {
  expectLasting(file, file);
  return foundIn(checkImageFile(file)).filter(({ kind }) => kind === 'broken-grain');
}

function messages(): string[] {
  return checkImageFile(file).problems.list.map(({ message }) => message);
}

function cutAt(length: number): void {
  const fd = openSync(file, 'r+');
  ftruncateSync(fd, length);
  closeSync(fd);
}

/** Damages the data of a grain. */
const damage = (number: number): void => {
  poke(file, grain(number) + 40, Buffer.alloc(8, 0xff));
};

describe.each(STREAM_FAMILIES)('%s', (family) => {
  beforeEach(() => {
    make(family);
  });

  test('grains behind a bad directory entry are read', () => {
    poke(file, places.gdOffset + 4, littleEndian(0x7fffffff, 4));
    expect(brokenGrains()).toEqual([]);
    damage(1);
    damage(521);
    expect(brokenGrains()).toEqual([broken(1), broken(521)]);
    expect(foundIn(checkImageFile(file))).toContainEqual(
      errorAt(file, 'directory-entry', places.gdOffset + 4),
    );
  });

  test('where a file is cut off, the grain there and those before it are named', () => {
    damage(0);
    damage(2);
    cutAt(grain(521) + 700);
    expect(brokenGrains().slice(0, 3)).toEqual([broken(0), broken(2), broken(521)]);
    expect(messages().some((text) => /has \d+ compressed bytes \(1 to 688 /.test(text))).toBe(true);
  });

  test('a grain whose lead is gone is named by its entry, and what lies behind is found', () => {
    poke(file, places.gdOffset + 4, littleEndian(0x7fffffff, 4));
    poke(file, grain(1), Buffer.alloc(12, 0xee));
    damage(521);
    const lost = errorAt(file, 'broken-grain', grain(1));
    expect(brokenGrains()).toEqual([lost, broken(521), broken(1)]);
    const bytes = grain(2) - grain(1);
    expect(messages()).toContain(`${bytes} bytes are neither a grain nor a marker`);
  });

  test('sectors that were lost in the middle hide nothing behind them', () => {
    poke(file, places.gdOffset, littleEndian(0x7fffffff, 4));
    damage(599);
    const start = Math.ceil((grain(1) + 5000) / 512) * 512;
    poke(file, start, Buffer.alloc(grain(520) - start));
    // Grain 1 is named; of grain 2 and what follows it only that it is gone.
    const [first, ...others] = brokenGrains();
    expect(first).toEqual(broken(1));
    expect(others.at(-1)).toEqual(broken(599));
    expect(others.some(({ grain: number }) => number === 520)).toBe(false);
  });

  test('a lead that says another grain is found by the entry', () => {
    poke(file, places.gdOffset + 4, littleEndian(0x7fffffff, 4));
    poke(file, grain(1), littleEndian(3 * 128, 8));
    expect(brokenGrains()).toEqual([broken(1)]);
    expect(messages().at(-1)).toContain(`is marked as that of offset ${3 * GRAIN}`);
  });
});

describe('other shapes', () => {
  test('a stream without its footer is walked through', () => {
    make('footer', { progressMarkers: true });
    cutAt(places.gdOffset);
    expect(brokenGrains()).toEqual([]);
    damage(2);
    expect(foundIn(checkImageFile(file))).toEqual([
      { kind: 'unusable', severity: 'error', file },
      broken(2),
    ]);
  });

  test('a writer that did not know the size in front', () => {
    make('footer');
    cutAt(places.gdOffset);
    poke(file, 12, littleEndian(0, 8));
    damage(599);
    expect(brokenGrains()).toEqual([broken(599)]);
  });

  test('bytes behind the end of a stream are none of it', () => {
    make('footer', { junk: Buffer.alloc(3000, 0xab) });
    poke(file, places.gdOffset + 4, littleEndian(0x7fffffff, 4));
    expect(brokenGrains()).toEqual([]);
  });

  test('grains without markers are read as far as tables lead to them', () => {
    make('front', { withoutMarkerLba: true });
    poke(file, places.gdOffset + 4, littleEndian(0x7fffffff, 4));
    damage(1);
    damage(521);
    expect(brokenGrains()).toEqual([broken(1)]);
  });

  test('random bytes from a place on end with problems, not with a crash', () => {
    for (let seed = 1; seed <= 20; seed++) {
      make('footer');
      const { size } = statSync(file);
      const from = 1024 + seed * Math.floor((size - 1024) / 22);
      poke(file, from, pattern(size - from, seed));
      const before = readFileSync(file);
      expect(foundIn(checkImageFile(file)).length).toBeGreaterThan(0);
      expect(readFileSync(file).equals(before)).toBe(true);
      expect(peek(file, 0, 4).toString()).toBe('KDMV');
    }
  });
});
