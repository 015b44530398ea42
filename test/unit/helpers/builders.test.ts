/** Files that the tests' builders write, read by programs other than ours; real ones, inspected. */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { inspectCowdFile, writeCowdFile } from '../../helpers/cowd-file.js';
import { pattern } from '../../helpers/made-disk.js';
import { writeDescriptor } from '../../helpers/images.js';
import { writeOva, type OvaOptions } from '../../helpers/ova-file.js';
import { littleEndian, peek, poke } from '../../helpers/poke.js';
import { isMissing, SAMPLES } from '../../helpers/requirements.js';
import { check } from '../../helpers/run.js';
import { inspectSeSparseFile, writeSeSparseFile } from '../../helpers/sesparse-file.js';
import {
  STREAM_FAMILIES,
  streamDescriptor,
  writeStreamFile,
  type StreamShape,
} from '../../helpers/stream-file.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const SECTOR = 512;

/** What qemu-img shows of an image. */
async function readByQemu(image: string): Promise<Buffer> {
  await check('qemu-img', 'convert', '-f', 'vmdk', '-O', 'raw', image, `${image}.raw`);
  return readFileSync(`${image}.raw`);
}

/** Content for `grains`, each of them different. */
const contents = (bytes: number, ...grains: readonly number[]): Map<number, Buffer> =>
  new Map(grains.map((grain) => [grain, pattern(bytes, grain + 1)]));

/** The disk that grains of `grainBytes` make. */
function diskOf(sectors: number, grainBytes: number, grains: ReadonlyMap<number, Buffer>): Buffer {
  const disk = Buffer.alloc(sectors * SECTOR);
  for (const [grain, content] of grains) content.copy(disk, grain * grainBytes);
  return disk;
}

/** Equal buffers, compared without printing megabytes. */
function expectSame(actual: Buffer, expected: Buffer): void {
  expect(actual.length).toBe(expected.length);
  expect(actual.equals(expected)).toBe(true);
}

const STREAMS: readonly (readonly [name: string, shape: Omit<StreamShape, 'family'>])[] = [
  ['no grains', { sectors: 2048 }],
  ['two tables', { sectors: 76_800, grains: contents(65_536, 0, 5, 511, 512, 599) }],
  ['grains out of order', { sectors: 2048, grains: contents(65_536, 9, 0, 15, 3) }],
  ['an empty table between two', { sectors: 200_000, grains: contents(65_536, 1, 1100) }],
  ['a padded last grain', { sectors: 200, grains: contents(36_864, 1) }],
  ['a short last grain', { sectors: 200, grains: contents(36_864, 1), shortLast: true }],
  ['progress markers', { sectors: 2048, grains: contents(65_536, 2, 3), progressMarkers: true }],
  ['grains of 8 KiB', { sectors: 19_207, grainSectors: 16, grains: contents(8192, 0, 700, 1199) }],
  ['tables of 128 entries', { sectors: 65_536, tableEntries: 128, grains: contents(65_536, 130) }],
  ['data that grows', { sectors: 256, level: 0, grains: new Map([[1, randomBytes(65_536)]]) }],
];

describe.skipIf(isMissing('streams, read by qemu-img', 'qemu'))('streams, read by qemu-img', () => {
  const rows = STREAM_FAMILIES.flatMap((family) =>
    STREAMS.map(([name, shape]) => ({ name, family, shape: { ...shape, family } })),
  );

  test.each(rows)('$family: $name', async ({ shape }) => {
    const image = join(tempFolder(), 'disk.vmdk');
    writeStreamFile(image, { ...shape, descriptor: streamDescriptor(shape.sectors, 'disk.vmdk') });
    const { grainSectors = 128, grains = new Map<number, Buffer>() } = shape;
    expectSame(await readByQemu(image), diskOf(shape.sectors, grainSectors * SECTOR, grains));
    expect(await check('qemu-img', 'info', '-f', 'vmdk', image)).toContain('streamOptimized');
  });

  test('the header of the qemu family is that of qemu-img', async () => {
    const folder = tempFolder();
    const theirs = join(folder, 'theirs.vmdk');
    const options = ['-q', '-f', 'vmdk', '-o', 'subformat=streamOptimized', theirs, '1G'];
    await check('qemu-img', 'create', ...options);
    const ours = join(folder, 'ours.vmdk');
    writeStreamFile(ours, { family: 'qemu', sectors: 2 ** 21, descriptor: 'any' });
    expect(peek(ours, 0, SECTOR)).toEqual(peek(theirs, 0, SECTOR));
  });

  test.each(['footer-patched', 'front', 'qemu'] as const)(
    '%s: an extent of a split disk, junk behind it',
    async (family) => {
      const folder = tempFolder();
      const lines = [2048, 1999].map((sectors, index) => {
        const grains = contents(65_536, 1, 4 + index);
        const junk = Buffer.alloc(777, 0xaa);
        writeStreamFile(join(folder, `s00${index}.vmdk`), { family, sectors, grains, junk });
        return `RW ${sectors} SPARSE "s00${index}.vmdk"`;
      });
      const image = join(folder, 'disk.vmdk');
      writeDescriptor(image, lines, { createType: 'twoGbMaxExtentSparse' });
      const first = diskOf(2048, 65_536, contents(65_536, 1, 4));
      const second = diskOf(1999, 65_536, contents(65_536, 1, 5));
      expectSame(await readByQemu(image), Buffer.concat([first, second]));
    },
  );
});

describe('places in streams', () => {
  test.each(STREAM_FAMILIES)('%s: directory, tables, markers and footer', (family) => {
    const image = join(tempFolder(), 'disk.vmdk');
    const grains = contents(65_536, 2, 600);
    const sectors = 200_000;
    const places = writeStreamFile(image, { family, sectors, grains });
    const hasFooter = family.startsWith('footer');
    expect([...places.tableOffsets.keys()]).toEqual(hasFooter ? [0, 1] : [0, 1, 2, 3]);
    for (const [grain, offset] of places.grainOffsets) {
      const number = Math.floor(grain / 512);
      const table = places.tableOffsets.get(number)!;
      const entry = peek(image, table + (grain % 512) * 4, 4).readUInt32LE();
      expect(peek(image, places.gdOffset + number * 4, 4).readUInt32LE() * SECTOR).toBe(table);
      expect(entry * SECTOR).toBe(offset);
      expect(peek(image, offset, 8).readBigUInt64LE()).toBe(BigInt(grain * 128));
    }
    expect(places.rgdOffset === undefined).toBe(family !== 'qemu');
    expect(peek(image, 56, 8).readBigUInt64LE()).toBe(
      family === 'footer' ? 2n ** 64n - 1n : BigInt(places.gdOffset / SECTOR),
    );
    const size = statSync(image).size;
    expect(places.footerOffset).toBe(hasFooter ? size - 1024 : undefined);
    expect(peek(image, size - 1024, 4).toString() === 'KDMV').toBe(hasFooter);
  });

  test('python inflates a grain behind nothing but its length', async ({ skip }) => {
    if (isMissing('grains without an address', 'python3')) skip();
    const image = join(tempFolder(), 'disk.vmdk');
    const grains = contents(65_536, 3);
    const places = writeStreamFile(image, {
      family: 'footer',
      sectors: 2048,
      grains,
      withoutMarkerLba: true,
    });
    const script =
      'import sys,struct,zlib\n' +
      'f=open(sys.argv[1],"rb"); f.seek(int(sys.argv[2]))\n' +
      'print(zlib.decompress(f.read(struct.unpack("<I",f.read(4))[0])).hex())';
    const shown = await check('python3', '-c', script, image, String(places.grainOffsets.get(3)));
    expectSame(Buffer.from(shown.trim(), 'hex'), grains.get(3)!);
    expect(peek(image, 8, 4).readUInt32LE()).toBe(0x10001);
  });
});

describe.skipIf(isMissing('COWD, read by qemu-img', 'qemu'))('COWD, read by qemu-img', () => {
  test.each([
    { name: 'grains of a sector', grainSectors: 1, sectors: 20_000 },
    { name: 'grains of a sector, pre-extended', grainSectors: 1, sectors: 20_000, preExtend: 9999 },
    { name: 'grains of 8 KiB', grainSectors: 16, sectors: 200_003, uncleanShutdown: 1 },
  ])('$name', async (shape) => {
    const folder = tempFolder();
    const bytes = shape.grainSectors * SECTOR;
    const grains = contents(bytes, 9000, 1, 2, 0, 4096, 4095);
    const delta = join(folder, 'disk-delta.vmdk');
    const { freeSector } = writeCowdFile(delta, { ...shape, grains, parentFileName: 'base.vmdk' });
    const image = join(folder, 'disk.vmdk');
    const line = `RW ${shape.sectors} VMFSSPARSE "disk-delta.vmdk"`;
    writeDescriptor(image, [line], { createType: 'vmfsSparse' });
    expectSame(await readByQemu(image), diskOf(shape.sectors, bytes, grains));
    const facts = inspectCowdFile(delta);
    expect(facts).toMatchObject({
      problems: [],
      freeSector,
      uncleanShutdown: shape.uncleanShutdown ?? 0,
    });
    expect(facts.entries.flatMap((entry, grain) => (entry === 0 ? [] : [grain]))).toEqual(
      [...grains.keys()].sort((one, other) => one - other),
    );
    expect(statSync(delta).size).toBe(freeSector * SECTOR + (shape.preExtend ?? 0));
  });
});

describe('COWD, inspected', () => {
  /** Tables at sectors 8 and 41, grains at 40 and 73. */
  const fresh = (): string => {
    const delta = join(tempFolder(), 'delta.vmdk');
    writeCowdFile(delta, { sectors: 9000, grains: contents(SECTOR, 1, 5000), preExtend: 4096 });
    return delta;
  };

  test('an empty extent of 32 GiB is as long as that of ESX before it is extended', () => {
    const delta = join(tempFolder(), 'delta.vmdk');
    const { freeSector } = writeCowdFile(delta, { sectors: 2 ** 26 });
    expect(statSync(delta).size).toBe(69_632);
    expect(freeSector).toBe(136);
  });

  test('zeroed grains have entry 1 and no place', () => {
    const delta = join(tempFolder(), 'delta.vmdk');
    writeCowdFile(delta, { sectors: 9000, zeroed: new Set([7]) });
    const { entries, problems } = inspectCowdFile(delta);
    expect(problems).toEqual([]);
    expect(entries[7]).toBe(1);
  });

  test.each([
    ['a grain past the end', 40, 5000, 'grain 1 at sector 5000 lies past the end'],
    ['a grain over the header', 40, 2, 'the header and grain 1 share sector 2'],
    ['a grain over the directory', 40, 4, 'the directory and grain 1 share sector 4'],
    ['a grain over a table', 40, 50, 'table 1 and grain 1 share sector 50'],
    ['two grains in one place', 40, 73, 'share sector 73'],
    ['a grain that is free', 40, 74, 'grain 1 at sector 74 is not below free sector 74'],
    ['a table past the end', 0, 5000, 'table 0 at sector 5000 lies past the end'],
    ['one table for two entries', 0, 41, 'share sector 41'],
    ['a table that is free', 0, 74, 'table 0 at sector 74 is not below free sector 74'],
  ] as const)('%s is a problem', (_, from, to, problem) => {
    const delta = fresh();
    poke(delta, from === 0 ? 2048 : 8 * SECTOR + 4, littleEndian(to, 4));
    expect(inspectCowdFile(delta).problems.join('\n')).toContain(problem);
  });

  test('a free sector among what is used is a problem', () => {
    const delta = fresh();
    poke(delta, 28, littleEndian(41, 4));
    expect(inspectCowdFile(delta).problems).toEqual([
      'table 1 at sector 41 is not below free sector 41',
      'grain 5000 at sector 73 is not below free sector 41',
    ]);
  });
});

describe.skipIf(isMissing('seSparse, read by qemu-img', 'qemu'))(
  'seSparse, read by qemu-img',
  () => {
    test.each([
      { name: 'a few grains', sectors: 100_000, wanted: [0, 3, 4096, 9000, 12_499] },
      {
        name: 'more grains than the low bits of an entry can number',
        sectors: 80_000,
        wanted: Array.from({ length: 5000 }, (_, grain) => grain),
      },
    ])('$name', async ({ sectors, wanted }) => {
      const folder = tempFolder();
      const delta = join(folder, 'disk-sesparse.vmdk');
      const grains = contents(4096, ...wanted);
      writeSeSparseFile(delta, {
        sectors,
        grains,
        order: wanted.toReversed(),
        unmapped: new Set([5001, 5002]),
        zeroed: new Set([8000]),
        trailingGrain: true,
      });
      const image = join(folder, 'disk.vmdk');
      const line = `RW ${sectors} SESPARSE "disk-sesparse.vmdk"`;
      writeDescriptor(image, [line], { createType: 'seSparse' });
      expectSame(await readByQemu(image), diskOf(sectors, 4096, grains));
      const facts = inspectSeSparseFile(delta);
      expect(facts).toMatchObject({ problems: [], grainsInUse: grains.size, replayJournal: 0n });
      expect(facts.entries[5002]! >> 60n).toBe(1n);
      expect(facts.entries[8000]).toBe(2n << 60n);
      expect(facts.entries[wanted.at(-1)!]).toBe(3n << 60n);
    });

    test('regions of more than a mebibyte', async () => {
      const folder = tempFolder();
      const image = join(folder, 'disk.vmdk');
      const delta = join(folder, 'disk-sesparse.vmdk');
      const sectors = 2 ** 26;
      const grains = new Map(
        [7, 4_000_000].map((grain) => [grain, Buffer.alloc(4096, grain % 255)]),
      );
      writeSeSparseFile(delta, { sectors, grains });
      writeDescriptor(image, [`RW ${sectors} SESPARSE "disk-sesparse.vmdk"`], {
        createType: 'seSparse',
      });
      for (const [grain, content] of grains) {
        const read = `read -P ${content.readUInt8()} ${grain * 4096} 4096`;
        expect(await check('qemu-io', '-r', '-f', 'vmdk', '-c', read, image)).not.toContain('fail');
      }
      expect(inspectSeSparseFile(delta)).toMatchObject({ problems: [], grainsInUse: 2 });
    });
  },
);

describe('seSparse, inspected', () => {
  /** Grain 1 at 0 by table 0, grain 5000 at 1 by table 1. */
  const fresh = (replayJournal = 0) => {
    const delta = join(tempFolder(), 'sesparse.vmdk');
    const grains = contents(4096, 1, 5000);
    return { delta, ...writeSeSparseFile(delta, { sectors: 80_000, grains, replayJournal }) };
  };

  test.each([
    ['a grain outside the file', 'tablesOffset', 8, (3n << 60n) | 1n, 'at 4096 lies outside'],
    ['one grain for two', 'tablesOffset', 8, 0x3001n << 48n, 'grains 1 and 5000 share 1'],
    ['an entry of no known type', 'tablesOffset', 8, 4n << 60n, 'entry of grain 1 is 4000'],
    ['a free grain', 'bitmapOffset', 0, 2n, 'grain 1 at 0 is free in the bitmap'],
    ['a wrong way back', 'backmapOffset', 8, 0x1001n << 48n, 'grain 5000 at 1 is 1001'],
    ['a free table', 'gdOffset', 8, (1n << 60n) | 2n, 'names table 2, but 2 are in use'],
    ['one table for two', 'gdOffset', 8, 1n << 60n, 'directory entries 0 and 1 share table 0'],
    ['a directory entry of no known type', 'gdOffset', 8, 1n, 'directory entry 1 is 1'],
    ['a table outside the region', 'gdOffset', 0, (1n << 60n) | 32n, 'outside the region'],
  ] as const)('%s is a problem', (_, region, at, value, problem) => {
    const { delta, ...places } = fresh();
    expect(inspectSeSparseFile(delta).problems).toEqual([]);
    poke(delta, places[region] + at, littleEndian(value, 8));
    expect(inspectSeSparseFile(delta).problems.join('\n')).toContain(problem);
  });

  test('a journal to replay and a file cut short are problems', () => {
    const { delta, grainsOffset } = fresh(1);
    truncateSync(delta, grainsOffset + 4096);
    expect(inspectSeSparseFile(delta).problems).toEqual([
      'replay_journal is 1',
      'grain 5000 at 1 lies outside the file',
    ]);
  });

  test('the layout of 512 MiB is that of ESXi', () => {
    const delta = join(tempFolder(), 'sesparse.vmdk');
    writeSeSparseFile(delta, { sectors: 2 ** 20 });
    const numbers = Array.from({ length: 26 }, (_, index) =>
      Number(peek(delta, index * 8, 8).readBigUInt64LE()),
    );
    expect(numbers).toEqual([
      ...[0xcafebabe, 0x2_0000_0001, 0x100000, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 2, 0x800, 0x800],
      ...[0x1000, 0x800, 0x1800, 0x800, 0x2000, 0x800, 0x2800, 0x800, 0x3000, 0x100000],
    ]);
  });
});

describe.skipIf(isMissing('real files, inspected', 'samples'))('real files, inspected', () => {
  const unpack = (name: string): string => {
    const file = join(tempFolder(), 'sample');
    writeFileSync(file, gunzipSync(readFileSync(join(SAMPLES, name))));
    return file;
  };

  test.each([
    ['footer', 'stefanha+qemu/iotest-version3.vmdk.gz', 2 ** 25],
    ['front', 'strozfriedberg+vmdk-rs/streamOptimized.vmdk.gz', 20_480],
  ] as const)("the header of the %s family is VMware's", (family, name, sectors) => {
    const ours = join(tempFolder(), 'ours.vmdk');
    writeStreamFile(ours, { family, sectors, descriptor: 'any' });
    expect(peek(ours, 0, SECTOR)).toEqual(peek(unpack(name), 0, SECTOR));
  });

  test('the COWD file has no problem', () => {
    const facts = inspectCowdFile(unpack('Reverier-Xu+wxtla/ext2.cowd.gz'));
    expect(facts.problems).toEqual([]);
    expect(facts.entries.filter((entry) => entry !== 0)).toHaveLength(7);
    expect(facts.freeSector).toBe(0xffff_ffff);
  });

  test('the seSparse file of ESXi has no problem', () => {
    const file = unpack('fox-it+dissect.hypervisor/sesparse.vmdk.gz');
    const facts = inspectSeSparseFile(file);
    expect(facts.problems).toEqual([]);
    expect(facts).toMatchObject({ freeTableNumber: 1n, replayJournal: 0n, grainsInUse: 4096 });
  });
});

describe.skipIf(isMissing('OVA, read by tar and python', 'python3'))(
  'OVA, read by tar and python',
  () => {
    const long = `${'disk-of-a-machine-with-a-long-name-'.repeat(4)}1.vmdk`;
    const LIST =
      'import sys,json,tarfile\n' +
      't=tarfile.open(sys.argv[1])\n' +
      'print(json.dumps([[m.name,m.offset_data,t.extractfile(m).read().hex()] for m in t]))';
    const rows: readonly { name: string; options: OvaOptions; names: readonly string[] }[] = [
      { name: 'ustar', options: {}, names: ['a.ovf', 'a.mf', 'a-disk1.vmdk'] },
      { name: 'ustar with a prefix', options: {}, names: [`${'folder/'.repeat(18)}disk.vmdk`] },
      { name: 'GNU names', options: { names: 'gnu' }, names: ['a.ovf', long] },
      { name: 'pax', options: { names: 'pax' }, names: ['a.ovf', long, 'd\u00efsk.vmdk'] },
      { name: 'base-256 sizes', options: { base256Sizes: true }, names: ['a.ovf', 'b.vmdk'] },
      { name: 'GNU, base-256', options: { names: 'gnu', base256Sizes: true }, names: [long, 'b'] },
    ];

    test.each(rows)('$name', async ({ names, options }) => {
      const folder = tempFolder();
      const ova = join(folder, 'machine.ova');
      const members = names.map((name, index) => ({
        name,
        bytes: pattern([700, 0, 5120][index] ?? 1, index),
      }));
      const offsets = writeOva(ova, members, options);
      const shown = JSON.parse(await check('python3', '-X', 'utf8', '-c', LIST, ova)) as unknown;
      expect(shown).toEqual(
        members.map(({ name, bytes }) => [name, offsets.get(name), bytes.toString('hex')]),
      );
      const listed = await check('tar', '--quoting-style=literal', '-tf', ova);
      expect(listed.trimEnd().split('\n')).toEqual(names);
      await check('tar', '-C', folder, '-xf', ova);
      for (const { name, bytes } of members) expectSame(readFileSync(join(folder, name)), bytes);
    });
  },
);
