/** What damage does to a stream. */
import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import { errorOf, expectContent, openDisk, readDisk } from '../helpers/disk-reading.js';
import { grainsOf, pattern } from '../helpers/made-disk.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import type { StreamPlaces } from '../helpers/stream-file.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 64 * 1024;
const MIB = 1024 * 1024;
const EIO = -5;

let image: string;

beforeEach(() => {
  image = join(tempFolder(), 'disk.vmdk');
});
describe('damage to one grain', () => {
  /** Grains 0 to 7; 3 is the one that is damaged. */
  function damaged(change: (place: number, size: number) => void): void {
    const grains = new Map(
      Array.from({ length: 8 }, (_, grain) => [grain, randomBytes(GRAIN)] as const),
    );
    const { content, places } = makeStream(image, { family: 'footer', sectors: 1024, grains });
    const place = places.grainOffsets.get(3) ?? 0;
    change(place, peek(image, place + 8, 4).readUInt32LE());
    const device = openDisk(image);
    const memory = process.memoryUsage.rss();
    for (const [offset, length] of [
      [3 * GRAIN, GRAIN],
      [3 * GRAIN + 100, 50],
      [2 * GRAIN, 3 * GRAIN],
    ] as const) {
      const error = errorOf(() => readDisk(device, offset, length));
      expect(error).toMatchObject({ code: 'VMDK_BAD_GRAIN', errno: EIO });
      expect(error.message).toMatch(/disk\.vmdk: grain 3 \(disk offset 196608\) at byte/);
    }
    expect(process.memoryUsage.rss() - memory).toBeLessThan(100 * MIB);
    const before = content.subarray(0, 3 * GRAIN);
    expect(readDisk(device, 0, 3 * GRAIN).equals(before)).toBe(true);
    const behind = content.subarray(4 * GRAIN);
    expect(readDisk(device, 4 * GRAIN, 4 * GRAIN).equals(behind)).toBe(true);
  }

  /** Replaces the grain at `place` by other data, which has to fit where it was. */
  const replace =
    (bytes: Buffer) =>
    (place: number, size: number): void => {
      const data = deflateSync(bytes);
      if (data.length > size) throw new Error('does not fit');
      poke(image, place + 8, Buffer.concat([littleEndian(data.length, 4), data]));
    };

  test.each<[string, (place: number, size: number) => void]>([
    [
      'the place of another grain',
      (place) => {
        poke(image, place, littleEndian(4 * 128, 8));
      },
    ],
    [
      'a place beyond numbers',
      (place) => {
        poke(image, place, Buffer.alloc(8, 0xff));
      },
    ],
    [
      'a length of 0',
      (place) => {
        poke(image, place + 8, littleEndian(0, 4));
      },
    ],
    [
      'a length of 4 GiB',
      (place) => {
        poke(image, place + 8, littleEndian(0xffffffff, 4));
      },
    ],
    [
      'a length past two grains',
      (place) => {
        poke(image, place + 8, littleEndian(2 * GRAIN + 513, 4));
      },
    ],
    [
      'a length that is too small',
      (place, size) => {
        poke(image, place + 8, littleEndian(size - 1, 4));
      },
    ],
    [
      'one wrong byte',
      (place) => {
        poke(image, place + 30_000, Buffer.from([peek(image, place + 30_000, 1).readUInt8() ^ 4]));
      },
    ],
    [
      'data that is no zlib stream',
      (place) => {
        poke(image, place + 12, Buffer.alloc(64, 0xff));
      },
    ],
    [
      'a dictionary that nobody has',
      (place) => {
        poke(image, place + 12, Buffer.from([0x78, 0xbb]));
      },
    ],
    ['less than a grain', replace(Buffer.alloc(GRAIN - 1))],
    ['more than a grain', replace(Buffer.alloc(GRAIN + 1))],
    ['nothing', replace(Buffer.alloc(0))],
    ['16 MiB', replace(Buffer.alloc(16 * MIB))],
  ])('%s is an error of that grain alone', (_name, change) => {
    damaged(change);
  });

  test('a grain that inflates to 1 GiB is an error at once', () => {
    const bomb = deflateSync(Buffer.alloc(1024 * MIB), { level: 9 });
    const grains = grainsOf(MIB, 0, 1, 2);
    const shape = { family: 'front', sectors: 3 * 2048, grainSectors: 2048, level: 0 } as const;
    const { content, places } = makeStream(image, { ...shape, grains });
    const at = (places.grainOffsets.get(1) ?? 0) + 8;
    poke(image, at, Buffer.concat([littleEndian(bomb.length, 4), bomb]));
    const device = openDisk(image);
    const memory = process.memoryUsage.rss();
    const before = performance.now();
    expect(errorOf(() => readDisk(device, MIB + 5, 10))).toMatchObject({ code: 'VMDK_BAD_GRAIN' });
    expect(performance.now() - before).toBeLessThan(1000);
    expect(process.memoryUsage.rss() - memory).toBeLessThan(50 * MIB);
    expect(readDisk(device, 0, MIB).equals(content.subarray(0, MIB))).toBe(true);
  }, 60_000);

  test('a last grain that goes past the end of the file', () => {
    const { places } = makeStream(image, {
      family: 'qemu',
      sectors: 256,
      grains: grainsOf(GRAIN, 0, 1),
    });
    truncateSync(image, (places.grainOffsets.get(1) ?? 0) + 14);
    const device = openDisk(image);
    expect(errorOf(() => readDisk(device, GRAIN, 1))).toMatchObject({ code: 'VMDK_BAD_GRAIN' });
    expect(readDisk(device, 0, GRAIN).equals(pattern(GRAIN, 7))).toBe(true);
  });

  test('a grain whose length is cut off by the end of the file', () => {
    const { places } = makeStream(image, {
      family: 'qemu',
      sectors: 256,
      grains: grainsOf(GRAIN, 0, 1),
    });
    truncateSync(image, (places.grainOffsets.get(1) ?? 0) + 5);
    const device = openDisk(image);
    expect(errorOf(() => readDisk(device, GRAIN, 1))).toMatchObject({ code: 'VMDK_BAD_GRAIN' });
  });

  test('an entry that leads over metadata or past the end is refused when it is opened', () => {
    const { places } = makeStream(image, {
      family: 'front',
      sectors: 256,
      grains: grainsOf(GRAIN, 0),
    });
    const table = places.tableOffsets.get(0) ?? 0;
    poke(image, table + 4, littleEndian(1, 4));
    expect(readDisk(openDisk(image), GRAIN, GRAIN).equals(Buffer.alloc(GRAIN))).toBe(true);
    poke(image, table + 4, littleEndian(2, 4));
    expect(errorOf(() => openDisk(image))).toMatchObject({ code: 'VMDK_BAD_GRAIN' });
    poke(image, table + 4, littleEndian(0x7fffffff, 4));
    expect(errorOf(() => openDisk(image))).toMatchObject({ code: 'VMDK_TRUNCATED' });
  });
});

describe('damage to the footer', () => {
  function refusalOf(change: (places: StreamPlaces, footer: number) => void): VmdkError {
    const { places } = makeStream(image, {
      family: 'footer',
      sectors: 1024,
      grains: grainsOf(GRAIN, 3),
    });
    change(places, places.footerOffset ?? 0);
    try {
      openImage(image, { readOnly: true }).device.close();
    } catch (error) {
      if (error instanceof VmdkError) return error;
      throw error;
    }
    throw new Error('it was opened');
  }

  test.each<[string, (footer: number) => void]>([
    [
      'the footer cut off',
      (footer) => {
        truncateSync(image, footer - 512);
      },
    ],
    [
      'half of the footer',
      (footer) => {
        truncateSync(image, footer + 256);
      },
    ],
    [
      'another marker',
      (footer) => {
        poke(image, footer - 512 + 12, littleEndian(7, 4));
      },
    ],
    [
      'a footer that says "at the end"',
      (footer) => {
        poke(image, footer + 56, Buffer.alloc(8, 0xff));
      },
    ],
    [
      'a footer without compression',
      (footer) => {
        poke(image, footer + 8, littleEndian(1, 4));
      },
    ],
  ])('%s is called truncated', (_name, change) => {
    const error = refusalOf((_places, footer) => {
      change(footer);
    });
    expect(error.code).toBe('VMDK_TRUNCATED');
    expect(error.message).toMatch(/disk\.vmdk: .*524288 bytes.*footer/);
  });

  test.each<[string, number | bigint]>([
    ['past the end', 2 ** 30],
    ['at 0', 0],
    ['over the header', 0n],
    ['over the descriptor', 1],
    ['beyond numbers', 0xffff_ffff_ffff_fffen],
  ])('a directory %s is refused', (_name, sector) => {
    const error = refusalOf((_places, footer) => {
      poke(image, footer + 56, littleEndian(sector, 8));
    });
    expect(['VMDK_BAD_DIRECTORY', 'VMDK_TRUNCATED']).toContain(error.code);
  });

  test.each<[string, number, number | bigint, 4 | 8]>([
    ['magic', 0, 0x12345678, 4],
    ['version', 4, 9, 4],
    ['grain size', 20, 0, 8],
    ['capacity', 12, 2n ** 50n, 8],
    ['table size', 44, 3, 4],
    ['capacity of 0', 12, 0, 8],
  ])('a footer with a wrong %s is refused', (_name, at, value, size) => {
    expect(
      refusalOf((_places, footer) => {
        poke(image, footer + at, littleEndian(value, size));
      }),
    ).toBeInstanceOf(VmdkError);
  });

  test('the last of two footers counts', () => {
    const { content, places } = makeStream(image, {
      family: 'footer',
      sectors: 1024,
      grains: grainsOf(GRAIN, 3),
    });
    const tail = peek(image, (places.footerOffset ?? 0) - 512, 3 * 512);
    poke(image, (places.footerOffset ?? 0) + 56, littleEndian(2 ** 30, 8));
    writeFileSync(image, tail, { flag: 'a' });
    expectContent(image, content);
  });
});
