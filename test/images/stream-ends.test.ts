/** Streams with something behind their end, or without their last sector: the first stream counts. */
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { grainsOf } from '../helpers/made-disk.js';
import { littleEndian, poke } from '../helpers/poke.js';
import { refusal } from '../helpers/refusal.js';
import { isMissing } from '../helpers/requirements.js';
import { run, vmdkfs } from '../helpers/run.js';
import type { StreamPlaces } from '../helpers/stream-file.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;
const GRAIN = 128 * 512;

interface Made {
  readonly image: string;
  readonly content: Buffer;
  readonly footer: number;
  readonly places: StreamPlaces;
}

/** A stream of `sectors` with a grain in some of its places. */
function stream(sectors = 4096, ...grains: readonly number[]): Made {
  const image = join(tempFolder(), 'disk.vmdk');
  const { content, places } = makeStream(image, {
    family: 'footer',
    sectors,
    grains: grainsOf(GRAIN, ...grains),
  });
  return { image, content, places, footer: places.footerOffset ?? 0 };
}

function contentOf(image: string): Buffer {
  const { device } = openImage(image, { readOnly: true });
  const content = Buffer.alloc(device.size);
  device.read(content, 0, content.length, 0);
  device.close();
  return content;
}

const noise = (length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 7919 + (index >> 7)) & 0xff));

describe('behind the end of a stream', () => {
  test.each([
    ['zeros up to a block of a tape', Buffer.alloc(10_240)],
    ['three mebibytes of zeros', Buffer.alloc(3 * MIB)],
    ['two mebibytes of 0xa5', Buffer.alloc(2 * MIB, 0xa5)],
    ['two mebibytes of noise and 77 bytes', noise(2 * MIB + 77)],
    ['a few bytes', Buffer.from('\r\n-----\r\n')],
  ])('%s change nothing', (_what, junk) => {
    const { content, image } = stream(4096, 0, 5, 31);
    appendFileSync(image, junk);
    expect(contentOf(image).equals(content)).toBe(true);
  });

  test.each([
    ['the same', 4096, [0, 5, 31]],
    ['a smaller one', 1024, [2]],
    ['one with more in it', 4096, [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]],
    ['a larger one', 128 * 600, [0, 511, 512, 599]],
    ['an empty one', 4096, []],
  ])('another stream, %s, is not looked at', (_what, sectors, grains) => {
    const first = stream(4096, 0, 5, 31);
    const second = stream(sectors, ...grains);
    appendFileSync(first.image, readFileSync(second.image));
    expect(contentOf(first.image).equals(first.content)).toBe(true);
  });

  test('an image of other kind is not looked at', () => {
    const { content, image } = stream(4096, 0, 5, 31);
    const other = stream(128 * 700, 3, 600);
    appendFileSync(image, Buffer.concat([noise(MIB + 100), readFileSync(other.image), noise(99)]));
    expect(contentOf(image).equals(content)).toBe(true);
  });
});

test.each([
  ['is not there', (footer: number) => footer + 512],
  ['is cut off', (footer: number) => footer + 512 + 100],
])('a stream whose last sector %s is read', (_what, length) => {
  const { content, footer, image } = stream(4096, 0, 5, 31);
  truncateSync(image, length(footer));
  expect(contentOf(image).equals(content)).toBe(true);
});

describe('what stays refused says why', () => {
  test.each<[string, (made: Made) => void, RegExp]>([
    [
      'cut off in a grain',
      ({ image, places }) => {
        truncateSync(image, (places.grainOffsets.get(31) ?? 0) + 100);
      },
      /cut off in the grain of disk offset 2031616 at byte \d+ \(the file has \d+ bytes\)/,
    ],
    [
      'cut off between grains',
      ({ image, places }) => {
        truncateSync(image, places.grainOffsets.get(31) ?? 0);
      },
      /cut off behind its last whole grain/,
    ],
    [
      'ended without a footer',
      ({ image, places }) => {
        truncateSync(image, places.grainOffsets.get(31) ?? 0);
        appendFileSync(image, Buffer.alloc(4096));
      },
      /ends at byte \d+ without one/,
    ],
    [
      'damaged between grains, with no footer',
      ({ footer, image, places }) => {
        poke(image, places.grainOffsets.get(5) ?? 0, Buffer.alloc(512, 0xee));
        truncateSync(image, footer - 512);
      },
      /byte \d+ begins neither a grain nor a marker/,
    ],
    [
      'with a footer of another version',
      ({ footer, image }) => {
        poke(image, footer + 4, littleEndian(9, 4));
      },
      /the one at byte \d+ is damaged \(header version 9 is not known/,
    ],
    [
      'with a footer that leads nowhere',
      ({ footer, image }) => {
        poke(image, footer + 56, littleEndian(2 ** 30, 8));
      },
      /leads to no grain directory at byte 549755813888/,
    ],
  ])('%s', (_what, change, words) => {
    const made = stream(4096, 0, 5, 31);
    change(made);
    const { code, message } = refusal(made.image, true);
    expect(code).toBe('VMDK_TRUNCATED');
    expect(message).toMatch(words);
    expect(message).toMatch(/without a footer that can be used/);
  });
});

describe.skipIf(isMissing('streams with an end of their own, beside QEMU', 'qemu'))('check', () => {
  test('finds nothing wrong in a stream with something behind it', async () => {
    const { image } = stream(4096, 0, 5, 31);
    writeFileSync(image, Buffer.alloc(3 * MIB), { flag: 'a' });
    expect(await vmdkfs('check', image)).toMatchObject({ code: 0 });
    // QEMU looks for the footer in the last sectors only.
    expect((await run('qemu-img', ['info', image])).code).not.toBe(0);
  });
});
