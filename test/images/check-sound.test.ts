/** What `check` must not complain of, what hostile images cost it, and what a mount does about an unclean end. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import type { VmdkErrorCode } from '../../src/vmdk/vmdk-error.js';
import { checkImageFile, contentOf, foundIn, repairImage } from '../helpers/checked.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { pattern } from '../helpers/made-disk.js';
import { writeDescriptor } from '../helpers/images.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { placesOf } from '../helpers/random-writes.js';
import { refusal } from '../helpers/refusal.js';
import { isMissing, SAMPLES } from '../helpers/requirements.js';
import { inspectSparseFile, writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

describe.each(DISK_KINDS)('$name', (kind) => {
  test('is sound as it is made, after random writes, and after discards', () => {
    const { content, image } = kind.make(tempFolder());
    expect(foundIn(checkImageFile(image))).toEqual([]);
    const { device } = openImage(image, { readOnly: false });
    placesOf(7, 25, 512, content.length - 20_000).forEach((place, index) => {
      const data = pattern(1 + ((index * 997) % 20_000), index);
      data.copy(content, place);
      device.write(data, 0, data.length, place);
      if (index % 10 === 0) device.flush();
    });
    device.close();
    expect(foundIn(checkImageFile(image))).toEqual([]);
    expect(contentOf(image).equals(content)).toBe(true);
    expect(repairImage(image).mended).toEqual([]);
  });
});

describe.each(['vmfsSparse', 'seSparse'] as const)('%s of our own making', (subformat) => {
  test('is sound as it is made and after writes', () => {
    const folder = tempFolder();
    const base = join(folder, 'base.vmdk');
    const image = join(folder, 'disk.vmdk');
    createImage(base, { size: 2 ** 25, backing: undefined });
    createImage(image, { size: undefined, backing: base, subformat });
    expect(foundIn(checkImageFile(image))).toEqual([]);
    const { device } = openImage(image, { readOnly: false });
    for (const place of placesOf(3, 40, 512, 2 ** 25)) device.write(pattern(512, 3), 0, 512, place);
    device.close();
    expect(foundIn(checkImageFile(image))).toEqual([]);
  });
});

interface Sample {
  readonly file: string;
  readonly with: readonly { readonly file: string }[];
}

const isAbsent = isMissing('checking sample images', 'samples');
const samples = isAbsent
  ? []
  : (JSON.parse(readFileSync(join(SAMPLES, 'manifest.json'), 'utf8')) as { images: Sample[] })
      .images;

describe.skipIf(isAbsent)('sample images', () => {
  test.each(samples)('$file has no errors', (sample) => {
    const folder = tempFolder();
    const files = [sample.file, ...sample.with.map(({ file }) => file)];
    const paths = files.map((file) => {
      const bytes = readFileSync(join(SAMPLES, file));
      const target = join(folder, basename(file, '.gz'));
      writeFileSync(target, file.endsWith('.gz') ? gunzipSync(bytes) : bytes);
      return target;
    });
    const { problems } = checkImageFile(paths[0] ?? '');
    expect(problems.list.filter(({ severity }) => severity === 'error')).toEqual([]);
    for (const { kind, message } of problems.list)
      console.log(`${sample.file}: ${kind}: ${message}`);
  });
});

describe('an image that was not closed', () => {
  const GRAIN = 8192;

  /** Three grains, and the mark; the tables lie at 3072 and 1024. */
  function make(): { image: string; file: string; content: Buffer } {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    const file = join(folder, 's.vmdk');
    writeSparseFile(file, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
    writeDescriptor(image, ['RW 6144 SPARSE "s.vmdk"']);
    const content = Buffer.alloc(6144 * 512);
    pattern(3 * GRAIN, 1).copy(content);
    const { device } = openImage(image, { readOnly: false });
    device.write(content, 0, 3 * GRAIN, 0);
    device.close();
    poke(file, 72, Buffer.of(1));
    return { image, file, content };
  }

  test('is opened with a line that says so, and closed cleanly', () => {
    const { content, file, image } = make();
    const { device, notices } = openImage(image, { readOnly: false });
    expect(notices).toEqual([`${file}: was not closed cleanly; its tables are sound`]);
    device.write(pattern(GRAIN, 2), 0, GRAIN, 100 * GRAIN);
    pattern(GRAIN, 2).copy(content, 100 * GRAIN);
    expect(peek(file, 72, 1)).toEqual(Buffer.of(1));
    device.close();
    expect(inspectSparseFile(file)).toMatchObject({ uncleanShutdown: 0, problems: [] });
    expect(contentOf(image).equals(content)).toBe(true);
  });

  test.each([
    ['an entry of 0 in the copy', 1024 + 4, 0],
    ['an entry only in the copy', 1024 + 12, 64],
  ])('with %s has its copies brought up to date by the first write', (_name, offset, value) => {
    const { content, file, image } = make();
    poke(file, offset, littleEndian(value, 4));
    const before = readFileSync(file);
    const opened = openImage(image, { readOnly: false });
    expect(opened.notices).toEqual([
      `${file}: was not closed cleanly; its tables are sound, and 1 redundant table is brought up to date with the first write`,
    ]);
    expect(readFileSync(file).equals(before)).toBe(true);
    opened.device.write(pattern(512, 2), 0, 512, 100 * GRAIN);
    opened.device.close();
    pattern(512, 2).copy(content, 100 * GRAIN);
    expect(inspectSparseFile(file)).toMatchObject({ uncleanShutdown: 0, problems: [] });
    expect(peek(file, 1024, 512).equals(peek(file, 3072, 512))).toBe(true);
    expect(contentOf(image).equals(content)).toBe(true);
    expect(foundIn(checkImageFile(image))).toEqual([]);
  });

  test('is left as it is when nothing is written', () => {
    const { file, image } = make();
    poke(file, 1024 + 4, littleEndian(0, 4));
    const before = readFileSync(file);
    openImage(image, { readOnly: false }).device.close();
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  test.each<[string, readonly (readonly [number, number])[], VmdkErrorCode]>([
    ['copies that contradict each other', [[1024 + 4, 48]], 'VMDK_BAD_TABLE'],
    [
      'two grains in one place',
      [
        [1024 + 4, 16],
        [3072 + 4, 16],
      ],
      'VMDK_BAD_GRAIN',
    ],
    [
      'grains that overlap',
      [
        [1024 + 4, 24],
        [3072 + 4, 24],
      ],
      'VMDK_BAD_GRAIN',
    ],
  ])('with %s is not written, and can be read', (_name, pokes, code) => {
    const { file, image } = make();
    for (const [offset, value] of pokes) poke(file, offset, littleEndian(value, 4));
    const before = readFileSync(file);
    expect(refusal(image, false)).toMatchObject({ code });
    openImage(image, { readOnly: true }).device.close();
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(repairImage(image).mended).toEqual([]);
  });
});

describe('hostile images', () => {
  const TABLES = 2 ** 18;

  /** An extent of many tables in a file that is nearly all hole; where its directory begins. */
  function make(entry: (table: number, first: number, copy: number) => number): {
    image: string;
    file: string;
  } {
    const folder = tempFolder();
    const file = join(folder, 's.vmdk');
    const image = join(folder, 'disk.vmdk');
    const shape = { sectors: TABLES * 128, grainSectors: 1, tableEntries: 128, withTables: false };
    writeSparseFile(file, shape);
    writeDescriptor(image, [`RW ${shape.sectors} SPARSE "s.vmdk"`]);
    const directorySectors = (TABLES * 4) / 512;
    const first = 1 + 2 * directorySectors;
    [0, 1].forEach((copy) => {
      const entries = Uint32Array.from({ length: TABLES }, (_, table) =>
        entry(table, first + copy * TABLES, copy),
      );
      poke(file, (1 + copy * directorySectors) * 512, new Uint8Array(entries.buffer));
    });
    truncateSync(file, (first + 2 * TABLES) * 512);
    return { image, file };
  }

  test.each<[string, (table: number, first: number) => number, number]>([
    ['entries that lead past the end', () => 0xffffffff, 2 * TABLES],
    ['entries that lead to one table', (_table, first) => first, 2 * TABLES],
    ['tables that overlap by a chain', (table, first) => first + (table >> 1), 2 * TABLES],
    ['every second entry bad', (table, first) => (table % 2 === 0 ? first + table : 1), TABLES],
  ])('%s cost time and memory that grow with their number', (_name, entry, errors) => {
    const { image } = make(entry);
    const before = performance.now();
    const { problems } = checkImageFile(image);
    expect(problems.list.length + problems.dropped).toBeGreaterThanOrEqual(errors);
    expect(problems.list).toHaveLength(10_000);
    expect(performance.now() - before).toBeLessThan(30_000);
  });

  test('more problems than are kept are mended some at a time', () => {
    const { image } = make((table, first, copy) =>
      copy === 1 && table < 12_000 ? 1 : first + table,
    );
    const first = repairImage(image);
    expect(first.mended).toHaveLength(10_000);
    expect(first.problems.list).toHaveLength(2000);
    expect(repairImage(image)).toMatchObject({ problems: { list: [], dropped: 0 } });
  });
});
