/** streamOptimized images of every family: what they show, and what damage does to them. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { deflateSync } from 'node:zlib';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { dataOf, errnoOf, expectContent, openDisk } from '../helpers/disk-reading.js';
import { grainsOf, pattern } from '../helpers/made-disk.js';
import { poke } from '../helpers/poke.js';
import { STREAM_FAMILIES, type StreamFamily, type StreamShape } from '../helpers/stream-file.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTOR = 512;
const GRAIN = 64 * 1024;
const MIB = 1024 * 1024;
const EROFS = -30;

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});

type Case = [name: string, shape: Omit<StreamShape, 'family'>];

const CASES: readonly Case[] = [
  ['no grain', { sectors: 4096 }],
  ['grains out of order', { sectors: 4096, grains: grainsOf(GRAIN, 9, 0, 15, 3, 31) }],
  ['an empty table between two', { sectors: 200_000, grains: grainsOf(GRAIN, 1, 1100) }],
  ['a padded last grain', { sectors: 2001, grains: grainsOf(GRAIN, 0, 15) }],
  ['a short last grain', { sectors: 2001, grains: grainsOf(41 * SECTOR, 15), shortLast: true }],
  ['progress markers', { sectors: 2048, grains: grainsOf(GRAIN, 2, 3), progressMarkers: true }],
  [
    'grains of 4 KiB, tables of 128 entries',
    { sectors: 9000, grainSectors: 8, tableEntries: 128, grains: grainsOf(4096, 0, 129, 1124) },
  ],
  ['a grain of a mebibyte', { sectors: 6144, grainSectors: 2048, grains: grainsOf(MIB, 1) }],
  [
    'grains that do not compress',
    { sectors: 512, grains: new Map([0, 2].map((grain) => [grain, randomBytes(GRAIN)])) },
  ],
  ['stored grains', { sectors: 512, level: 0, grains: new Map([[1, randomBytes(GRAIN)]]) }],
  [
    'lengths without markers',
    { sectors: 2001, withoutMarkerLba: true, grains: grainsOf(GRAIN, 0, 3, 15) },
  ],
  ['version 1', { sectors: 512, version: 1, grains: grainsOf(GRAIN, 3) }],
];

describe.each(STREAM_FAMILIES)('a stream of the family %s', (family: StreamFamily) => {
  test.each(CASES)('with %s shows its content', (_name, shape) => {
    expectContent(image, makeStream(image, { ...shape, family }).content);
  });

  test('without markers and lengths, as QEMU reads it, shows its content', () => {
    const shape = { family, sectors: 640, withoutMarkerLba: true };
    const { places, content } = makeStream(image, { ...shape, grains: grainsOf(GRAIN, 0, 4) });
    for (const [grain, place] of places.grainOffsets) {
      const data = deflateSync(content.subarray(grain * GRAIN, (grain + 1) * GRAIN));
      poke(image, place, Buffer.concat([data, Buffer.alloc(4)]));
    }
    expectContent(image, content);
  });

  test('tells where its data is', () => {
    makeStream(image, { family, sectors: 70_000, grains: grainsOf(GRAIN, 0, 1, 5, 546) });
    expect(dataOf(openDisk(image))).toEqual([
      [0, 2 * GRAIN],
      [5 * GRAIN, 6 * GRAIN],
      [546 * GRAIN, 70_000 * SECTOR],
    ]);
    expect(openDisk(image).allocatedBytes()).toBe(4 * GRAIN);
  });

  test.each([1, 511, 512, 4096, 300_000])('with %i bytes behind its end', (length) => {
    const junk = Buffer.alloc(length, 0xa5);
    expectContent(
      image,
      makeStream(image, { family, sectors: 512, junk, grains: grainsOf(GRAIN, 3) }).content,
    );
  });

  test('opened for writing is read-only, says why and stays as it was', () => {
    makeStream(image, { family, sectors: 512, grains: grainsOf(GRAIN, 3) });
    const before = readFileSync(image);
    const { device, notices } = openImage(image, { readOnly: false });
    expect(device.readOnly).toBe(true);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(/disk\.vmdk: it is streamOptimized.*read-only/);
    expect(
      errnoOf(() => {
        device.write(Buffer.alloc(1), 0, 1, 0);
      }),
    ).toBe(EROFS);
    expect(
      errnoOf(() => {
        device.zero(0, 512);
      }),
    ).toBe(EROFS);
    device.close();
    expect(readFileSync(image).equals(before)).toBe(true);
  });
});

/** Reads in a thread: `count` reads of sizes that take a part of a grain, against `content`. */
const READER = `
  const { workerData, parentPort } = require('node:worker_threads');
  import(workerData.engine).then(({ attachImage }) => {
    const device = attachImage(workerData.image);
    const content = Buffer.from(workerData.content);
    let state = workerData.seed;
    const random = (below) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let round = 0; round < 800; round++) {
      const offset = random(content.length);
      const length = Math.min(content.length - offset, 1 + random(round % 8 === 0 ? 200000 : 9000));
      const bytes = Buffer.alloc(length);
      device.read(bytes, 0, length, offset);
      if (!bytes.equals(content.subarray(offset, offset + length))) throw new Error('wrong at ' + offset);
    }
    parentPort.postMessage('right');
  });`;

describe('threads that read one stream', () => {
  test.each([2, 8])('%i of them see its content', async (count) => {
    // Grains of a mebibyte: the cache holds 64 of them, the disk has 80.
    const grains = new Map(
      Array.from({ length: 80 }, (_, grain) => [grain, pattern(MIB, grain)] as const),
    );
    const shape = { family: 'footer', sectors: 2048 * 80, grainSectors: 2048, level: 1 } as const;
    const { content } = makeStream(image, { ...shape, grains });
    const { description, device } = openImage(image, { readOnly: true });
    onTestFinished(() => {
      device.close();
    });
    const shared = new SharedArrayBuffer(content.length);
    content.copy(new Uint8Array(shared));
    const engine = new URL('../../dist/block/attach-image.js', import.meta.url).href;
    const answers = Array.from({ length: count }, (_, index) => {
      const workerData = { engine, image: description, content: shared, seed: index + 1 };
      const worker = new Worker(READER, { eval: true, workerData });
      return new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
    });
    expect(await Promise.all(answers)).toEqual(answers.map(() => 'right'));
  });
});
