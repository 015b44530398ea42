import { beforeEach, describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { SparseExtentHeader as header } from '../../src/vmdk/sparse-extent-header.js';
import { contentOf } from '../helpers/checked.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { filledImage, refusal } from '../helpers/refusal.js';

const SECTOR = 512;
const TABLE_BYTES = 2048;
/** Of the 48 grains of 64 KiB at 5 MiB; the table has 512 entries. */
const USED = 80;

let image: string;
let before: Buffer;

beforeEach(() => {
  ({ image } = filledImage());
  before = contentOf(image);
});

/** Byte of the first table of a directory. */
function tableOf(name: 'gdOffset' | 'rgdOffset'): number {
  const directory = Number(peek(image, header[name].offset, 8).readBigUInt64LE()) * SECTOR;
  return peek(image, directory, 4).readUInt32LE() * SECTOR;
}

function noticesOf(readOnly: boolean, tableMemory?: number): readonly string[] {
  const { device, notices } = openImage(image, {
    readOnly,
    ...(tableMemory === undefined ? {} : { tableMemory }),
  });
  device.close();
  return notices;
}

const entry = (grain: number): number => tableOf('gdOffset') + 4 * grain;

describe('an entry that leads nowhere, with a good copy', () => {
  test.each([
    ['far past the end', [USED], 0x7000000],
    ['over the descriptor', [USED + 3], 2],
    ['several of them', [USED, USED + 1, USED + 47], 0xfffffff0],
  ])('%s is read from the copy, and said', (_, grains, value) => {
    for (const grain of grains) poke(image, entry(grain), littleEndian(value, 4));
    const found = noticesOf(true).filter((notice) => notice.includes('redundant table'));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(
      `: ${grains.length} entr${grains.length === 1 ? 'y' : 'ies'} of the grain tables`,
    );
    expect(contentOf(image).equals(before)).toBe(true);
    expect(noticesOf(true, 1)).toEqual(found);
    refusal(image, false);
  });

  test('is refused where the copy is bad too, or has no grain', () => {
    for (const value of [0x7000000, 0]) {
      poke(image, entry(USED), littleEndian(0x7000000, 4));
      poke(image, tableOf('rgdOffset') + 4 * USED, littleEndian(value, 4));
      expect(refusal(image, true)).toMatchObject({ code: 'VMDK_TRUNCATED' });
    }
  });
});

describe('copies that differ', () => {
  const differ: unknown = expect.stringContaining('redundant copy differ');

  test.each(['gdOffset', 'rgdOffset'] as const)('a zeroed table of %s is named', (name) => {
    poke(image, tableOf(name), Buffer.alloc(TABLE_BYTES));
    for (const readOnly of [true, false]) expect(noticesOf(readOnly)).toContainEqual(differ);
  });

  test('two entries that lead to different grains are named, after an unclean end too', () => {
    poke(image, entry(USED), peek(image, entry(USED + 1), 4));
    poke(image, header.uncleanShutdown.offset, Buffer.of(1));
    expect(noticesOf(true)).toContainEqual(differ);
  });

  test('a copy that lags behind after an unclean end is not named', () => {
    poke(image, tableOf('rgdOffset') + 4 * USED, littleEndian(0, 4));
    poke(image, header.uncleanShutdown.offset, Buffer.of(1));
    expect(noticesOf(true)).not.toContainEqual(differ);
  });

  test('nothing is said of an image whose copies are equal', () => {
    expect(noticesOf(true)).toEqual([]);
    expect(noticesOf(false)).toEqual([]);
  });
});
