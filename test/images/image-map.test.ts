/** What `vmdkfs map` is made of, held against `qemu-img map` and against literal places. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { attachLayers } from '../../src/block/attach-image.js';
import { createImage } from '../../src/block/create-image.js';
import { heldRuns, mapImage, type MapRun } from '../../src/block/image-map.js';
import { openImage } from '../../src/block/open-image.js';
import { libcIfAny } from '../../src/os/libc.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { cowdDisk, streamDisk } from '../helpers/delta-kinds.js';
import { writeDescriptor } from '../helpers/images.js';
import { grainsOf, pattern } from '../helpers/made-disk.js';
import { isMissing } from '../helpers/requirements.js';
import { check } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GRAIN = 64 * KIB;

libcIfAny();

function mapOf(image: string): MapRun[] {
  const { description, device } = openImage(image, { readOnly: true });
  try {
    return [...mapImage(attachLayers(description))];
  } finally {
    device.close();
  }
}

interface QemuRun {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  readonly offset?: number;
}

async function qemuMap(image: string): Promise<QemuRun[]> {
  const text = await check('qemu-img', 'map', '--output=json', '-f', 'vmdk', image);
  return JSON.parse(text) as QemuRun[];
}

/** What a stretch is, in a word; runs of one word are joined. */
type Words = [word: string, length: number][];

function joined(words: Words): Words {
  const result: Words = [];
  for (const [word, length] of words) {
    const last = result.at(-1);
    if (last?.[0] === word) last[1] += length;
    else result.push([word, length]);
  }
  return result;
}

/**
 * What the two say differently: QEMU has no name of a file and no `compressed` (but no offset for
 * compressed grains), calls holes of flat extents data that is zero, does not look for holes in grains
 * of a sparse extent (`holes` says whether the disk is flat), and has the depth of the base for what
 * nobody holds.
 */
function ours(runs: readonly MapRun[], holes: boolean): Words {
  return joined(
    runs.map(({ depth, kind, length, place, start }) => {
      const at = place === undefined ? 'none' : place.offset - start;
      if (kind === 'nothing') return ['nothing', length];
      if (kind === 'zero' && place === undefined) return [`zeroed at depth ${depth}`, length];
      const zero = kind === 'zero' && holes ? ', zero' : '';
      return [`data at depth ${depth}, shift ${at}${zero}`, length];
    }),
  );
}

function theirs(runs: readonly QemuRun[], holes: boolean): Words {
  return joined(
    runs.map(({ depth, length, offset, present, start, zero }) => {
      const at = offset === undefined ? 'none' : offset - start;
      if (!present) return ['nothing', length];
      if (zero && offset === undefined) return [`zeroed at depth ${depth}`, length];
      return [`data at depth ${depth}, shift ${at}${zero && holes ? ', zero' : ''}`, length];
    }),
  );
}

/** Writes some grains, one of which is punched again, with room between them. */
function fill(image: string, size: number, seed: number): void {
  const { device } = openImage(image, { readOnly: false });
  for (const [at, length] of [
    [seed * GRAIN, 2 * GRAIN],
    [(5 + 3 * seed) * GRAIN, GRAIN],
    [size - 3 * GRAIN, 2 * GRAIN],
  ] as const) {
    device.write(pattern(length, seed), 0, length, at);
  }
  device.zero((seed + 1) * GRAIN, GRAIN);
  device.close();
}

/** The disks, by what they are; each makes itself in a folder and says where it is. */
const DISKS: readonly [name: string, make: (folder: string) => string][] = [
  ...(
    [
      'monolithicSparse',
      'monolithicFlat',
      'twoGbMaxExtentSparse',
      'twoGbMaxExtentFlat',
      'vmfsSparse',
      'seSparse',
    ] as const
  ).map((subformat: Subformat): [string, (folder: string) => string] => [
    subformat,
    (folder) => {
      const image = join(folder, 'disk.vmdk');
      const size = subformat === 'twoGbMaxExtentSparse' ? 2049 * MIB : 4 * MIB;
      createImage(image, { size, backing: undefined, subformat });
      fill(image, size, 1);
      return image;
    },
  ]),
  [
    'a chain of three, the middle one shorter',
    (folder) => {
      const [base, middle, top] = ['base', 'middle', 'top'].map((name) =>
        join(folder, `${name}.vmdk`),
      );
      if (base === undefined || middle === undefined || top === undefined) throw new Error();
      createImage(base, { size: 8 * MIB, backing: undefined });
      fill(base, 8 * MIB, 1);
      createImage(middle, { size: 4 * MIB, backing: base });
      fill(middle, 4 * MIB, 2);
      createImage(top, { size: 8 * MIB, backing: middle });
      fill(top, 8 * MIB, 4);
      return top;
    },
  ],
  ['streamOptimized', (folder) => streamDisk(folder, 'disk', 2001).image],
];

describe.skipIf(isMissing('maps against qemu-img map', 'qemu'))('as qemu-img map says', () => {
  test.each(DISKS)('%s', async (name, make) => {
    const image = make(tempFolder());
    const runs = mapOf(image);
    const holes = name.endsWith('Flat');
    expect(ours(runs, holes)).toEqual(theirs(await qemuMap(image), holes));
    const { size } = runs.reduce((sum, { length }) => ({ size: sum.size + length }), { size: 0 });
    expect(size).toBe(runs.at(-1)!.start + runs.at(-1)!.length);
    const isStream = name === 'streamOptimized';
    expect(runs.some(({ isCompressed }) => isCompressed)).toBe(isStream);
  });

  test('zeroed grains that QEMU wrote', async () => {
    const image = join(tempFolder(), 'disk.vmdk');
    await check('qemu-img', 'create', '-q', '-f', 'vmdk', '-o', 'zeroed_grain=on', image, '4M');
    const writes = ['-c', 'write -q -P 3 256k 256k', '-c', 'write -q -z 320k 64k'];
    await check('qemu-io', ...writes, '-c', 'write -q -z 1M 128k', image);
    expect(ours(mapOf(image), false)).toEqual(theirs(await qemuMap(image), false));
  });
});

describe('what lies where', () => {
  test('holes of the file are zeros, in sparse and in flat extents', () => {
    for (const subformat of ['monolithicSparse', 'monolithicFlat'] as const) {
      const image = join(tempFolder(), 'disk.vmdk');
      createImage(image, { size: MIB, backing: undefined, subformat });
      const { device } = openImage(image, { readOnly: false });
      device.write(pattern(3 * GRAIN, 1), 0, 3 * GRAIN, 0);
      device.zero(GRAIN, GRAIN);
      device.close();
      const kinds = mapOf(image).map(({ kind, length, start }) => [
        start / GRAIN,
        length / GRAIN,
        kind,
      ]);
      const rest = subformat === 'monolithicFlat' ? 'zero' : 'nothing';
      expect(kinds).toEqual([
        [0, 1, 'data'],
        [1, 1, 'zero'],
        [2, 1, 'data'],
        [3, 13, rest],
      ]);
    }
  });

  test('ZERO extents are zeros without a place', () => {
    const folder = tempFolder();
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 128, grainSectors: 8, tableEntries: 512 });
    const image = join(folder, 'disk.vmdk');
    writeDescriptor(image, ['RW 128 SPARSE "s.vmdk"', 'RW 64 ZERO']);
    expect(mapOf(image)).toEqual([
      { start: 0, length: 64 * KIB, depth: 0, kind: 'nothing', isCompressed: false },
      { start: 64 * KIB, length: 32 * KIB, depth: 0, kind: 'zero', isCompressed: false },
    ]);
  });

  test('behind a shorter parent there is nothing, whatever its own parent holds', () => {
    const folder = tempFolder();
    const names = ['base', 'middle', 'top'].map((name) => join(folder, `${name}.vmdk`));
    const [base = '', middle = '', top = ''] = names;
    createImage(base, { size: 4 * GRAIN, backing: undefined, subformat: 'monolithicFlat' });
    const { device } = openImage(base, { readOnly: false });
    device.write(pattern(4 * GRAIN, 1), 0, 4 * GRAIN, 0);
    device.close();
    createImage(middle, { size: 2 * GRAIN, backing: base });
    createImage(top, { size: 4 * GRAIN, backing: middle });
    expect(mapOf(top).map(({ depth, kind, length }) => [depth, kind, length / GRAIN])).toEqual([
      [2, 'data', 2],
      [1, 'nothing', 2],
    ]);
  });

  test('what a child holds itself is told grain by grain, the last one cut by the end', () => {
    const disk = cowdDisk(tempFolder(), 'disk', {
      sectors: 2501,
      grainSectors: 8,
      grains: grainsOf(4096, 0, 1, 99, 312),
    });
    const { description, device } = openImage(disk.image, { readOnly: true });
    const runs = [...heldRuns(attachLayers(description)[0])];
    device.close();
    // The grains stand one behind the other in the file.
    expect(runs.map(({ kind, length, start }) => [start, length, kind])).toEqual([
      [0, 8192, 'data'],
      [99 * 4096, 4096, 'data'],
      [312 * 4096, 5 * 512, 'data'],
    ]);
  });
});

test('a large empty disk has one run, and no table of it is read', () => {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: 60 * 1024 * 1024 * MIB, backing: undefined, subformat: 'seSparse' });
  const { description, device } = openImage(image, { readOnly: true });
  let asked = 0;
  const [layer] = attachLayers(description);
  const counted = {
    size: layer.size,
    holding: (offset: number, limit: number) => {
      asked += 1;
      return layer.holding(offset, limit);
    },
  };
  const runs = [...mapImage([counted])];
  device.close();
  expect(runs).toHaveLength(1);
  expect(asked).toBe(1);
});
