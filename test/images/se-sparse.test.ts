/** seSparse extents at the limits of their regions. */
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';
import { writeDescriptor } from '../helpers/images.js';
import { grainsOf, pattern } from '../helpers/made-disk.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { writeSeSparseFile, type SeSparsePlaces } from '../helpers/sesparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 4096;
const ALLOCATED = 3n << 60n;
const UNMAPPED = 1n << 60n;

let image: string;
let file: string;

beforeEach(() => {
  const folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  file = join(folder, 'disk-sesparse.vmdk');
  writeDescriptor(image, ['RW 256 SESPARSE "disk-sesparse.vmdk"']);
});

/** The place of the only table's entry for `grain`. */
function entryPlace(places: SeSparsePlaces, grain: number): number {
  return (places.tableOffsets.get(0) ?? 0) + grain * 8;
}

function writeGrain(grain: number): void {
  const { device } = openImage(image, { readOnly: false });
  try {
    device.write(pattern(GRAIN, grain + 100), 0, GRAIN, grain * GRAIN);
  } finally {
    device.close();
  }
}

function readGrain(grain: number): Buffer {
  const { device } = openImage(image, { readOnly: true });
  const bytes = Buffer.alloc(GRAIN);
  device.read(bytes, 0, GRAIN, grain * GRAIN);
  device.close();
  return bytes;
}

/** The numbers of all 32 grains. */
const ALL = Array.from({ length: 32 }, (_, grain) => grain);

describe('a seSparse extent', () => {
  // A guest that fills its disk and discards a part of it leaves free grains before the last one.
  test('whose last grain is in use takes data where the guest discarded some', () => {
    const places = writeSeSparseFile(file, { sectors: 256, grains: grainsOf(GRAIN, ...ALL) });
    poke(file, entryPlace(places, 5), littleEndian(UNMAPPED | (5n << 48n), 8));
    poke(file, places.bitmapOffset, Buffer.from([0xff & ~(1 << 5)]));
    expect(readGrain(5).equals(Buffer.alloc(GRAIN))).toBe(true);
    writeGrain(5);
    expect(readGrain(5).equals(pattern(GRAIN, 105))).toBe(true);
    expect(inspectExtentFile(file).problems).toEqual([]);
  });

  test('whose grains lie further than its backmap reaches has room where the map knows of it', () => {
    const places = writeSeSparseFile(file, { sectors: 256, grains: grainsOf(GRAIN, 0, 1) });
    // The region of grains goes on for 2 GiB; a mebibyte of backmap is enough for half a GiB.
    const last = 131_072;
    poke(file, 200, littleEndian(2 ** 22, 8));
    poke(file, entryPlace(places, 1), littleEndian(ALLOCATED | BigInt(last >> 12), 8));
    truncateSync(file, places.grainsOffset + (last + 1) * GRAIN);
    const before = peek(file, places.grainsOffset, GRAIN);
    writeGrain(9);
    expect(readGrain(9).equals(pattern(GRAIN, 109))).toBe(true);
    expect(peek(file, places.grainsOffset, GRAIN).equals(before)).toBe(true);
  });

  test('leaves what an unmapped entry says of its old place as it is', () => {
    const places = writeSeSparseFile(file, {
      sectors: 256,
      grains: grainsOf(GRAIN, 1),
      unmapped: new Set([3]),
    });
    const before = peek(file, entryPlace(places, 3), 8);
    writeGrain(8);
    expect(peek(file, entryPlace(places, 3), 8).equals(before)).toBe(true);
    expect(inspectExtentFile(file).problems).toEqual([]);
  });

  test('with changes in its journal is refused, also for reading', () => {
    writeSeSparseFile(file, { sectors: 256, replayJournal: 1 });
    for (const readOnly of [true, false]) {
      expect(() => openImage(image, { readOnly })).toThrow(/journal has changes/);
    }
  });

  test.each([
    ['too low', 0],
    ['past the region', 2 ** 20],
    ['beyond any number', 2n ** 63n],
  ])('with the number of its next table %s is refused for writing only', (_name, value) => {
    writeSeSparseFile(file, { sectors: 256, grains: grainsOf(GRAIN, 1) });
    poke(file, 520, littleEndian(value, 8));
    expect(() => openImage(image, { readOnly: false })).toThrow(/number of the next grain table/);
    expect(readGrain(1).equals(pattern(GRAIN, 8))).toBe(true);
  });
});
