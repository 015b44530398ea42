/** New images of every subformat, as qemu-img and our own engine see them; what is left of failures. */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createImage, isOutsideFolder } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { decodeCowdHeader } from '../../src/vmdk/cowd-header.js';
import { decodeSeSparseHeader, decodeVolatileHeader } from '../../src/vmdk/se-sparse-header.js';
import { factsOfSubformat, SUBFORMATS, type Subformat } from '../../src/vmdk/subformat.js';
import { peek } from '../helpers/poke.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTOR = 512;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;

/** QEMU refuses these createTypes. */
const UNKNOWN_TO_QEMU: readonly Subformat[] = [
  'vmfsThin',
  'vmfsPreallocated',
  'vmfsEagerZeroedThick',
];
const QEMU_SUBFORMATS = SUBFORMATS.filter((name) => !UNKNOWN_TO_QEMU.includes(name));

const CHILD_SUBFORMATS = SUBFORMATS.filter((name) => factsOfSubformat(name).canBeChild);

/** Sizes that have been trouble: one sector, not whole grains, one above a split extent. */
const SIZES = [
  SECTOR,
  MIB + 5 * SECTOR,
  4192256 * SECTOR,
  4192257 * SECTOR,
  4193793 * SECTOR,
  5 * GIB,
  5 * GIB + SECTOR,
];

function make(subformat: Subformat, size: number | undefined, backing?: string): string {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size, backing, subformat });
  return image;
}

/** The error of making `path`, which has to fail with one and leave its folder as it was. */
function failure(path: string, options: Parameters<typeof createImage>[1]): unknown {
  const folder = join(path, '..');
  const before = readdirSync(folder);
  try {
    createImage(path, options);
  } catch (error) {
    expect(readdirSync(folder)).toEqual(before);
    return error;
  }
  throw new Error(`${path} was made`);
}

const QEMU = 'new images in qemu-img';
describe.skipIf(isMissing(QEMU, 'qemu'))(QEMU, () => {
  describe.each(QEMU_SUBFORMATS)('%s', (subformat) => {
    test.each(SIZES)('of %d bytes is clean and of that size', async (size) => {
      const image = make(subformat, size);
      const info = JSON.parse(await check('qemu-img', 'info', '--output=json', image)) as unknown;
      expect(info).toMatchObject({
        format: 'vmdk',
        'virtual-size': size,
        'format-specific': { data: { 'create-type': subformat } },
      });
      expect(await check('qemu-img', 'check', image)).toMatch(/^No errors/);
    });

    test('reads as zeros', async () => {
      const image = make(subformat, 3 * MIB + SECTOR);
      const { stdout } = await run('qemu-io', [
        '-r',
        '-c',
        `read -P 0 0 ${3 * MIB + SECTOR}`,
        image,
      ]);
      expect(stdout).toMatch(/^read 3146240\/3146240 bytes/m);
    });
  });

  test.each(['monolithicSparse', 'twoGbMaxExtentSparse'] as const)(
    'take what QEMU writes: %s',
    async (subformat) => {
      const image = make(subformat, 4192256 * SECTOR + MIB);
      const boundary = 4192256 * SECTOR;
      const commands = [0, boundary - 4096, boundary, boundary + MIB - 4096].flatMap((offset) => [
        ...['-c', `write -P 7 ${offset} 4096`],
        ...['-c', `read -P 7 ${offset} 4096`],
      ]);
      const { stdout } = await run('qemu-io', [...commands, image]);
      expect(stdout).not.toMatch(/fail|error/i);
      expect(await check('qemu-img', 'check', image)).toMatch(/^No errors/);
      const { device } = openImage(image, { readOnly: true });
      const bytes = Buffer.alloc(4096);
      device.read(bytes, 0, 4096, boundary);
      device.close();
      expect(bytes.every((byte) => byte === 7)).toBe(true);
    },
  );

  test.each(CHILD_SUBFORMATS)('show the parent of a child: %s', async (subformat) => {
    const folder = tempFolder();
    const base = join(folder, 'base.vmdk');
    createImage(base, { size: 8 * MIB, backing: undefined, subformat: 'monolithicFlat' });
    await check('qemu-io', '-c', 'write -P 0x5a 1M 1M', base);
    const child = join(folder, 'child.vmdk');
    expect(createImage(child, { size: undefined, backing: base, subformat })).toBe(8 * MIB);
    const { stdout } = await run('qemu-io', [
      ...['-r', '-c', 'read -P 0x5a 1M 1M', '-c', 'read -P 0 2M 1M', child],
    ]);
    expect(stdout.match(/^read 1048576\/1048576/gm)).toHaveLength(2);
    expect(stdout).not.toMatch(/verification failed|error/i);
  });
});

describe.each(SUBFORMATS)('our engine with a new %s', (subformat) => {
  // Preallocated, these would take all their space.
  const { isPreallocated } = factsOfSubformat(subformat);
  test.each(isPreallocated ? SIZES.slice(0, 2) : SIZES)('of %d bytes', (size) => {
    const image = make(subformat, size);
    const { device, chain } = openImage(image, { readOnly: false });
    expect(device.size).toBe(size);
    expect(chain[0]?.descriptor.createType).toBe(subformat);
    const last = Buffer.from('last sector'.padEnd(SECTOR, '!'));
    device.write(last, 0, SECTOR, size - SECTOR);
    device.close();
    const again = openImage(image, { readOnly: true });
    const bytes = Buffer.alloc(SECTOR);
    again.device.read(bytes, 0, SECTOR, size - SECTOR);
    again.device.close();
    expect(bytes).toEqual(last);
  });
});

describe('a new flat image', () => {
  test.each(['monolithicFlat', 'vmfs', 'vmfsThin', 'twoGbMaxExtentFlat'] as const)(
    'takes no space: %s',
    (subformat) => {
      const image = make(subformat, 64 * MIB);
      const files = readdirSync(join(image, '..'));
      const blocks = files.map((name) => statSync(join(image, '..', name)).blocks);
      expect(files).toHaveLength(2);
      expect(Math.max(...blocks)).toBeLessThan(64);
    },
  );

  test.each(['vmfsPreallocated', 'vmfsEagerZeroedThick'] as const)(
    'takes all its space: %s',
    (subformat) => {
      const image = make(subformat, 8 * MIB + 1);
      const { size, blocks } = statSync(join(image, '..', 'disk-flat.vmdk'));
      expect(size).toBe(8 * MIB + SECTOR);
      expect(blocks * 512).toBeGreaterThanOrEqual(size);
    },
  );
});

describe('a new ESX extent', () => {
  test('of vmfsSparse is a root with a geometry, or names its parent', () => {
    const root = peek(make('vmfsSparse', GIB).replace('.vmdk', '-delta.vmdk'), 0, 2048);
    expect(decodeCowdHeader(root, 'x')).toMatchObject({ capacity: GIB, tableCount: 512 });
    expect([32, 36, 40].map((offset) => root.readUInt32LE(offset))).toEqual([512, 128, 32]);
    const base = make('monolithicSparse', MIB);
    const child = join(base, '..', 'c.vmdk');
    createImage(child, { size: undefined, backing: base, subformat: 'vmfsSparse' });
    const header = decodeCowdHeader(peek(child.replace('.vmdk', '-delta.vmdk'), 0, 2048), 'x');
    expect(header).toMatchObject({ parentFileName: 'disk.vmdk', isUnclean: false });
    // The append point is the end of the file.
    expect(statSync(join(base, '..', 'c-delta.vmdk')).size).toBe(header.freeOffset);
  });

  test.each([SECTOR, 40 * MIB, 64 * TIB])('of seSparse is laid out for %d bytes', (size) => {
    const file = make('seSparse', size).replace('.vmdk', '-sesparse.vmdk');
    const header = decodeSeSparseHeader(peek(file, 0, SECTOR), 'x');
    expect(header.capacity).toBe(size);
    expect(decodeVolatileHeader(peek(file, header.volatileOffset, SECTOR), 'x')).toEqual({
      freeTableNumber: 0,
      replayJournal: false,
    });
    expect(statSync(file).size).toBe(header.grains.offset);
  });
});

describe('createImage', () => {
  test('writes the adapter and what BIOSes see', () => {
    const image = join(tempFolder(), 'disk.vmdk');
    createImage(image, { size: GIB, backing: undefined, subformat: 'vmfs', adapter: 'ide' });
    const text = readFileSync(image, 'utf8');
    expect(text).toContain('ddb.adapterType = "ide"\nddb.geometry.cylinders = "2080"\n');
    expect(text).toContain('ddb.geometry.heads = "16"\nddb.geometry.sectors = "63"\n');
  });

  test.each([
    ['monolithicSparse', 2 * TIB, 'a monolithicSparse disk holds at most 2 TiB less a sector'],
    ['vmfsSparse', 2 * TIB, 'a vmfsSparse disk holds at most 2 TiB less a sector'],
    ['seSparse', 64 * TIB + 1, 'a seSparse disk holds at most 64 TiB'],
    ['twoGbMaxExtentSparse', 80 * TIB, 'more extents than a descriptor of 1 MiB can name'],
    ['twoGbMaxExtentFlat', 62 * TIB, 'more extents than a descriptor of 1 MiB can name'],
    ['vmfs', 2 ** 53, 'a vmfs disk holds at most 8 PiB less a sector'],
    ['twoGbMaxExtentFlat', 2 ** 53, 'at most 8 PiB less a sector'],
  ] as const)('refuses a %s disk of %d bytes', (subformat, size, words) => {
    const error = failure(join(tempFolder(), 'x.vmdk'), { size, backing: undefined, subformat });
    expect(error).toMatchObject({ code: 'EFBIG' });
    expect((error as Error).message).toContain(words);
  });

  test('refuses a parent for a flat image', () => {
    const backing = make('monolithicSparse', MIB);
    const error = failure(join(backing, '..', 'x.vmdk'), { size: MIB, backing, subformat: 'vmfs' });
    expect(error).toMatchObject({ code: 'EINVAL' });
  });

  test.each(['a"b.vmdk', 'a\nb.vmdk', 'a\rb.vmdk'])('refuses the name %j', (name) => {
    for (const subformat of SUBFORMATS) {
      const path = join(tempFolder(), name);
      expect(failure(path, { size: MIB, backing: undefined, subformat })).toMatchObject({
        code: 'EINVAL',
      });
    }
  });

  test.each([
    ['monolithicSparse', 'x.vmdk'],
    ['monolithicFlat', 'x.vmdk'],
    ['monolithicFlat', 'x-flat.vmdk'],
    ['vmfsPreallocated', 'x-flat.vmdk'],
    ['twoGbMaxExtentSparse', 'x-s003.vmdk'],
    ['twoGbMaxExtentFlat', 'x-f001.vmdk'],
    ['vmfsSparse', 'x-delta.vmdk'],
    ['seSparse', 'x-sesparse.vmdk'],
  ] as const)('of %s leaves a file that is in its way: %s', (subformat, name) => {
    const folder = tempFolder();
    writeFileSync(join(folder, name), 'precious');
    const size = name.includes('003') ? 5 * GIB : MIB;
    const error = failure(join(folder, 'x.vmdk'), { size, backing: undefined, subformat });
    expect(error).toMatchObject({ code: 'EEXIST', path: join(folder, name) });
    expect(readFileSync(join(folder, name), 'utf8')).toBe('precious');
  });

  test('does not follow a link that leads nowhere', () => {
    const folder = tempFolder();
    symlinkSync(join(folder, 'target'), join(folder, 'x-flat.vmdk'));
    const options = { size: MIB, backing: undefined, subformat: 'vmfs' } as const;
    expect(failure(join(folder, 'x.vmdk'), options)).toMatchObject({ code: 'EEXIST' });
  });

  test('tells a parent in another folder', () => {
    const folder = tempFolder();
    mkdirSync(join(folder, 'vm', 'snapshots'), { recursive: true });
    const image = join(folder, 'vm', 'child.vmdk');
    const parents = ['base.vmdk', 'vm/base.vmdk', 'vm/snapshots/base.vmdk', '..odd.vmdk'];
    for (const name of parents) {
      createImage(join(folder, name), { size: MIB, backing: undefined });
    }
    symlinkSync('../base.vmdk', join(folder, 'vm', 'link.vmdk'));
    const outside = [...parents, 'vm/link.vmdk'].map((name) => [
      basename(name),
      isOutsideFolder(image, join(folder, name)),
    ]);
    expect(outside).toEqual([
      ['base.vmdk', true],
      ['base.vmdk', false],
      ['base.vmdk', false],
      ['..odd.vmdk', true],
      ['link.vmdk', true],
    ]);
    expect(isOutsideFolder(join(folder, 'child.vmdk'), join(folder, '..odd.vmdk'))).toBe(false);
  });
});
