/** Files that are one part of a disk: what is said of them, and that what is said is right. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { openSource } from '../../src/image/convert/source-disk.js';
import { explainedError } from '../../src/image/recognise/explained-error.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import { checkImageFile, contentOf } from '../helpers/checked.js';
import { writeDescriptor } from '../helpers/images.js';
import { trailed } from '../helpers/other-files.js';
import { writeOva } from '../helpers/ova-file.js';
import { poke } from '../helpers/poke.js';
import { filledImage } from '../helpers/refusal.js';
import { check } from '../helpers/run.js';

const SECTOR = 512;
const MIB = 1024 * 1024;

let folder: string;
let image: string;

beforeEach(() => {
  ({ folder, image } = filledImage());
});

/** An image of `subformat`, of 1 MiB, called `name`. */
function make(subformat: Subformat, name = 'vm.vmdk', backing?: string): string {
  const path = join(folder, name);
  createImage(path, { size: backing === undefined ? MIB : undefined, subformat, backing });
  return path;
}

function reasonOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    const explained = explainedError(error);
    if (explained instanceof VmdkError) return explained.reason;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** What is said of the image `path`. */
function said(path: string): string {
  return reasonOf(() => {
    openImage(path, { readOnly: true }).device.close();
  });
}

const SOURCE = { permissions: {}, disk: undefined, lock: true, form: 'any' } as const;

/** What a conversion says of the plain file `path`. */
function notices(path: string): readonly string[] {
  const source = openSource(path, SOURCE);
  source.device.close();
  return source.notices;
}

/** Makes the descriptor that is inside `image` a row of `byte`. */
function overwriteDescriptor(byte: number): void {
  poke(image, SECTOR, Buffer.alloc(20 * SECTOR, byte));
}

describe('an extent beside the descriptor that names it', () => {
  test.each<[Subformat, string, boolean]>([
    ['monolithicFlat', 'vm-flat.vmdk', false],
    ['vmfs', 'vm-flat.vmdk', false],
    ['twoGbMaxExtentFlat', 'vm-f001.vmdk', false],
    ['twoGbMaxExtentSparse', 'vm-s001.vmdk', false],
    ['vmfsSparse', 'vm-delta.vmdk', true],
    ['seSparse', 'vm-sesparse.vmdk', true],
  ])('of %s leads to it', (subformat, extent, isChild) => {
    const path = make(subformat, 'vm.vmdk', isChild ? image : undefined);
    expect(said(join(folder, extent))).toBe(
      `holds the data of the disk ${path}; use that file instead`,
    );
  });

  test('is one of several, and its name may be any', () => {
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 0', 'RW 8 ZERO', 'RW 8 FLAT "dir\\b.raw" 0']);
    for (const name of ['a.raw', 'b.raw']) writeFileSync(join(folder, name), Buffer.alloc(4096));
    expect(said(join(folder, 'b.raw'))).toBe(
      `is part 2 of 2 of the disk ${image}; use that file instead`,
    );
  });

  test('leads to the descriptor that is called like it, of several', () => {
    for (const name of ['a.vmdk', 'vm.vmdk', 'z.vmdk']) {
      writeDescriptor(join(folder, name), ['RW 8 FLAT "vm-flat.vmdk" 0']);
    }
    writeFileSync(join(folder, 'vm-flat.vmdk'), Buffer.alloc(4096));
    expect(said(join(folder, 'vm-flat.vmdk'))).toContain(`the disk ${join(folder, 'vm.vmdk')};`);
  });

  test('leads to it through a link in another folder', () => {
    const path = make('vmfs');
    mkdirSync(join(folder, 'links'));
    const link = join(folder, 'links', 'a.vmdk');
    symlinkSync(join(folder, 'vm-flat.vmdk'), link);
    expect(said(link)).toBe(`holds the data of the disk ${path}; use that file instead`);
  });

  test('made by qemu-img has room for a descriptor and none in it', async () => {
    const path = join(folder, 'q.vmdk');
    await check(
      ...['qemu-img', 'create', '-q', '-f', 'vmdk', '-o', 'subformat=twoGbMaxExtentSparse'],
      ...[path, '5G'],
    );
    expect(said(join(folder, 'q-s002.vmdk'))).toBe(
      `is part 2 of 3 of the disk ${path}; use that file instead`,
    );
    // In an archive the extents are no disks.
    const names = ['q.vmdk', 'q-s001.vmdk', 'q-s002.vmdk', 'q-s003.vmdk'];
    const archive = join(folder, 'q.ova');
    const members = names.map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));
    writeOva(archive, members);
    const opened = openImage(archive, { readOnly: true });
    opened.device.close();
    expect(opened.disk).toBe('q.vmdk');
  });

  test('is no extent of an image that only has its name inside', () => {
    // The copy of an image still names the file that it was.
    writeFileSync(join(folder, 'copy.vmdk'), readFileSync(image));
    overwriteDescriptor(0);
    expect(said(image)).not.toContain('copy.vmdk');
  });
});

describe('an extent without its descriptor', () => {
  test.each([
    ['vm-flat.vmdk', 'is by its name the data of a disk'],
    ['vm-f002.vmdk', 'is by its name one part of a split disk'],
    ['vm-rdmp.vmdk', 'is by its name an extent of a disk'],
  ])('%s asks for it', (name, what) => {
    const path = join(folder, name);
    writeFileSync(path, Buffer.alloc(8192, 1));
    const descriptor = join(folder, 'vm.vmdk');
    expect(said(path)).toContain(
      `${what}; put its descriptor file, ${descriptor}, beside it and open that`,
    );
  });

  test.each<[Subformat, string, RegExp]>([
    ['vmfsSparse', 'vm-delta.vmdk', /^is the extent of an ESX delta \(COWD\); put .*vm\.vmdk/],
    ['seSparse', 'vm-sesparse.vmdk', /^is the extent of a seSparse delta; put .*vm\.vmdk/],
    ['twoGbMaxExtentSparse', 'vm-s001.vmdk', /^is one extent of a split disk; put .*vm\.vmdk/],
  ])('of %s asks for it', (subformat, extent, reason) => {
    rmSync(make(subformat));
    expect(said(join(folder, extent))).toMatch(reason);
  });

  test('leads to a descriptor of its name that is no longer one', () => {
    rmSync(make('twoGbMaxExtentSparse'));
    writeFileSync(join(folder, 'vm.vmdk'), 'lost');
    expect(said(join(folder, 'vm-s001.vmdk'))).toContain(
      `open the disk by its descriptor file, ${join(folder, 'vm.vmdk')}`,
    );
  });
});

describe('a sparse image without its own descriptor', () => {
  test.each([
    ['zeros', 0],
    ['other bytes', 0xa5],
  ])('in place of which are %s is opened by the line that is named', (_name, byte) => {
    const before = contentOf(image);
    overwriteDescriptor(byte);
    const reason = said(image);
    expect(reason).toMatch(
      /no descriptor beside it names it; open the disk by its descriptor file/,
    );
    const line =
      /, or unless it is a snapshot write a new descriptor file with the line (RW .*)$/.exec(
        reason,
      )?.[1];
    expect(line).toBe(`RW ${(64 * MIB) / SECTOR} SPARSE "disk.vmdk"`);
    const rescue = join(folder, 'rescue.vmdk');
    writeDescriptor(rescue, [line!]);
    expect(contentOf(rescue).equals(before)).toBe(true);
    expect(said(image)).toBe(`holds the data of the disk ${rescue}; use that file instead`);
  });

  test('that lost only its extent line is opened by the line that is named', () => {
    const before = contentOf(image);
    const text = readFileSync(image, 'latin1');
    poke(image, text.indexOf('RW '), Buffer.from('# '));
    const line = /and the line (RW .*) opens it$/.exec(said(image))?.[1];
    const rescue = join(folder, 'rescue.vmdk');
    writeDescriptor(rescue, [line!]);
    expect(contentOf(rescue).equals(before)).toBe(true);
  });
});

describe('a descriptor', () => {
  test('that lost its extents leads to the data that is called like it', () => {
    const path = make('monolithicFlat');
    const before = contentOf(path);
    writeDescriptor(path, []);
    const reason = said(path);
    expect(reasonOf(() => checkImageFile(path))).toBe(reason);
    const line = /add the line (RW .*)$/.exec(reason)?.[1];
    expect(reason).toContain(`its data is in ${join(folder, 'vm-flat.vmdk')}`);
    writeDescriptor(path, [line!]);
    expect(contentOf(path).equals(before)).toBe(true);
    writeDescriptor(path, []);
    rmSync(join(folder, 'vm-flat.vmdk'));
    expect(said(path)).toMatch(/lost the lines that name its extents; restore it from a backup/);
  });

  test.each(['vsan://52ab01c2-1111', 'vvol://naa.600/rfc4122.1', 'VSAN://x'])(
    'whose data is at %s says that it is in no file',
    (name) => {
      writeDescriptor(image, [`RW 8 VMFS "${name}"`]);
      const reason = said(image);
      expect(reason).toContain(`its data is in an object of a datastore, ${name} `);
      expect(reason).not.toContain('put it beside');
    },
  );
});

test('a change tracking file leads to the disk that names it, or is called like it', () => {
  const tracker = join(folder, 'vm-ctk.vmdk');
  writeFileSync(tracker, Buffer.alloc(4096, 1));
  expect(said(tracker)).toMatch(/holds no disk; use the disk instead$/);
  const path = make('vmfs');
  expect(said(tracker)).toContain(`use ${path} instead`);
  const other = make('vmfs', 'other.vmdk');
  writeFileSync(other, `${readFileSync(other, 'latin1')}\nchangeTrackPath="vm-ctk.vmdk"\n`);
  expect(said(tracker)).toContain(`use ${other} instead`);
});

test('an extent that is another file is said to be that, not to be opened by what is open', () => {
  const path = make('twoGbMaxExtentSparse');
  const extent = join(folder, 'vm-s001.vmdk');
  writeFileSync(extent, Buffer.concat([Buffer.from([0x1f, 0x8b, 8]), Buffer.alloc(4096)]));
  expect(said(path)).toBe('is a gzip file; unpack it with gunzip first');
  writeFileSync(extent, Buffer.alloc(4096, 1));
  expect(said(path)).toMatch(/not a sparse VMDK extent/);
});

test('only the ends of a file are looked at, and it is not locked', () => {
  const path = join(folder, 'large.vhd');
  writeFileSync(path, '');
  truncateSync(path, 2 ** 40);
  poke(path, 2 ** 40 - SECTOR, trailed('conectix', SECTOR));
  const before = performance.now();
  expect(said(path)).toMatch(/^is a VHD image/);
  expect(performance.now() - before).toBeLessThan(5000);
  // The disk of a flat file that is open for writing is named all the same.
  const disk = make('monolithicFlat');
  const { device } = openImage(disk, { readOnly: false, lock: true });
  try {
    expect(said(join(folder, 'vm-flat.vmdk'))).toContain(`the disk ${disk};`);
  } finally {
    device.close();
  }
});

describe('a conversion', () => {
  test('takes the data of a disk, and says which', () => {
    const disk = make('vmfs');
    const flat = join(folder, 'vm-flat.vmdk');
    expect(notices(flat)).toEqual([
      `${flat}: is taken as a plain disk; it holds the data of the disk ${disk}`,
    ]);
    rmSync(disk);
    expect(notices(flat)).toEqual([
      `${flat}: is taken as a plain disk; nothing in it says that it is a VMDK`,
    ]);
  });

  test('takes no part of a split disk, and no text, unless told to', () => {
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 0', 'RW 8 FLAT "b.raw" 0']);
    const [a = '', b = ''] = ['a.raw', 'b.raw'].map((name) => join(folder, name));
    for (const path of [a, b]) writeFileSync(path, Buffer.alloc(4096));
    expect(reasonOf(() => notices(b))).toMatch(/^is part 2 of 2 of the disk .*--raw-input$/);
    const stray = join(folder, 'x-f003.vmdk');
    writeFileSync(stray, Buffer.alloc(4096, 1));
    expect(reasonOf(() => notices(stray))).toMatch(/^is by its name one part of .*--raw-input$/);
    const wide = join(folder, 'wide.vmdk');
    writeFileSync(wide, readFileSync(image, 'latin1'), 'utf16le');
    expect(reasonOf(() => notices(wide))).toMatch(/descriptor in UTF-16; .*--raw-input$/);
    const { device } = openSource(wide, { ...SOURCE, form: 'plain' });
    device.close();
    expect(device.size).toBeGreaterThan(0);
  });
});
