import { copyFileSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeError } from '../../src/errno.js';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import type { VmdkErrorCode } from '../../src/vmdk/vmdk-error.js';
import { writeDescriptor } from '../helpers/images.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { littleEndian, peek } from '../helpers/poke.js';
import { filledImage, refusal } from '../helpers/refusal.js';
import { check } from '../helpers/run.js';

const MIB = 1024 * 1024;

let folder: string;
let image: string;

beforeEach(() => {
  ({ folder, image } = filledImage());
});

describe('files that are no image', () => {
  test.each([0, 3, 100, 511, 600, 2000, 20000, 70000, 65536 + 128, 65536 * 20])(
    'an image cut to %i bytes is refused',
    (length) => {
      truncateSync(image, length);
      expect([
        'VMDK_TRUNCATED',
        'VMDK_NOT_VMDK',
        'VMDK_BAD_DIRECTORY',
        'VMDK_BAD_DESCRIPTOR',
      ]).toContain(refusal(image, true).code);
    },
  );

  test('a directory is refused', () => {
    expect(() => openImage(folder, { readOnly: true })).toThrow(/is a directory/);
  });

  test('text and random bytes are refused', () => {
    writeFileSync(image, 'hello\n');
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_VMDK' });
    writeFileSync(image, Buffer.alloc(2 * MIB, 0xa5));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_VMDK' });
  });

  test('a FIFO and a device are refused without being opened', async () => {
    const fifo = join(folder, 'fifo');
    await check('mkfifo', fifo);
    expect(() => openImage(fifo, { readOnly: true })).toThrow(/not a regular file/);
    writeDescriptor(image, ['RW 8 FLAT "/dev/zero" 0']);
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_A_FILE' });
  });

  test('COWD and seSparse extents are named', () => {
    writeFileSync(image, Buffer.concat([Buffer.from('COWD'), Buffer.alloc(4096)]));
    expect(refusal(image, true).message).toMatch(/COWD/);
    writeFileSync(image, Buffer.concat([littleEndian(0xcafebabe, 8), Buffer.alloc(4096)]));
    expect(refusal(image, true).message).toMatch(/seSparse/);
  });
});

describe('descriptors', () => {
  const flat = (name: string, bytes: number): void => {
    writeFileSync(join(folder, name), Buffer.alloc(bytes));
  };

  test.each<[string, string[], VmdkErrorCode]>([
    ['no extent', [], 'VMDK_NO_EXTENTS'],
    ['an extent of 0 sectors', ['RW 0 FLAT "a.raw" 0'], 'VMDK_BAD_EXTENT_LINE'],
    [
      'an extent of 2^60 sectors',
      ['RW 1152921504606846976 FLAT "a.raw" 0'],
      'VMDK_BAD_EXTENT_LINE',
    ],
    ['no file name', ['RW 8 FLAT'], 'VMDK_BAD_EXTENT_LINE'],
    ['a type that is not known', ['RW 8 NEWSPARSE "a.raw"'], 'VMDK_UNSUPPORTED'],
    ['a device without the option for it', ['RW 8 VMFSRAW "a.raw"'], 'VMDK_UNSUPPORTED'],
    ['a Windows device', ['RW 8 FLAT "\\\\.\\PhysicalDrive0" 0'], 'VMDK_UNSUPPORTED'],
    ['a vSAN object', ['RW 8 VSANSPARSE "a.raw"'], 'VMDK_UNSUPPORTED'],
    ['a missing extent', ['RW 8 FLAT "missing.raw" 0'], 'VMDK_MISSING_FILE'],
    ['a flat file that is too short', ['RW 9 FLAT "a.raw" 0'], 'VMDK_TRUNCATED'],
    ['a flat offset past the end', ['RW 8 FLAT "a.raw" 1'], 'VMDK_TRUNCATED'],
    ['a folder as extent', ['RW 8 FLAT "." 0'], 'VMDK_NOT_A_FILE'],
    ['a flat file as SPARSE', ['RW 8 SPARSE "a.raw"'], 'VMDK_NOT_VMDK'],
    ['extents past 8 PiB', ['RW 17592186044415 ZERO', 'RW 8 ZERO'], 'VMDK_BAD_CAPACITY'],
  ])('%s is refused', (_name, extents, code) => {
    flat('a.raw', 4096);
    writeDescriptor(image, extents);
    expect(refusal(image, false)).toMatchObject({ code });
  });

  test('one sparse file as two extents is refused', () => {
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 256, grainSectors: 128, tableEntries: 512 });
    writeDescriptor(image, ['RW 256 SPARSE "s.vmdk"', 'RW 256 SPARSE "s.vmdk"']);
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
  });

  test('a descriptor as its own extent, or its parent as one, forbids writing', () => {
    writeDescriptor(image, ['RW 1 FLAT "disk.vmdk" 0', `# ${'x'.repeat(512)}`]);
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
    openImage(image, { readOnly: true }).device.close();
    const parent = join(folder, 'parent.vmdk');
    writeDescriptor(parent, ['RW 1 ZERO', `# ${'x'.repeat(512)}`], { cid: '1' });
    const lines = { parentCid: '1', hint: 'parent.vmdk' };
    writeDescriptor(image, ['RW 1 FLAT "parent.vmdk" 0'], lines);
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
  });

  test('a sparse and a flat extent in one file forbid writing, in either order', () => {
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 256, grainSectors: 128, tableEntries: 512 });
    const lines = ['RW 256 SPARSE "s.vmdk"', 'RW 8 FLAT "s.vmdk" 0'];
    writeDescriptor(image, lines);
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
    writeDescriptor(image, lines.reverse());
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
  });

  test('an empty hint without a parent CID is no parent', () => {
    writeDescriptor(image, ['RW 8 ZERO'], { hint: '' });
    expect(openImage(image, { readOnly: true }).chain).toHaveLength(1);
  });

  test('extents with more tables together than an image may have are refused', () => {
    const sectors = 2 ** 31;
    const lines = Array.from({ length: 20 }, (_, index) => {
      writeSparseFile(join(folder, `t${index}.vmdk`), {
        ...{ sectors, grainSectors: 8, tableEntries: 128, flags: 1, withTables: false },
      });
      return `RW ${sectors} SPARSE "t${index}.vmdk"`;
    });
    writeDescriptor(image, lines);
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_BAD_CAPACITY' });
  });

  test('a file of the parent as an extent of the child forbids writing', () => {
    flat('a.raw', 4096);
    const parent = join(folder, 'parent.vmdk');
    writeDescriptor(parent, ['RW 8 FLAT "a.raw" 0'], { cid: '1' });
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 0'], { parentCid: '1', hint: 'parent.vmdk' });
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
  });

  test('flat extents may share a file', () => {
    flat('a.raw', 8192);
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 8', 'RW 8 FLAT "a.raw" 0']);
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(4096, 3), 0, 4096, 4096);
    device.close();
    expect(peek(join(folder, 'a.raw'), 0, 4096).equals(Buffer.alloc(4096, 3))).toBe(true);
  });

  test('a megabyte of blank lines is refused at once', () => {
    writeFileSync(image, '\n'.repeat(MIB));
    const before = performance.now();
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_VMDK' });
    expect(performance.now() - before).toBeLessThan(5000);
  });

  test('control characters in names do not reach the terminal', () => {
    writeDescriptor(image, ['RW 8 FLAT "\u001b[2Jgone" 0']);
    writeFileSync(join(folder, '\u001b[2Jgone'), Buffer.alloc(8));
    const message = describeError(refusal(image, true));
    expect(message).toMatch(/\?\[2Jgone/);
    expect(message).not.toMatch(/\p{Cc}/u);
  });

  test('an encrypted disk is refused, never shown as ciphertext', () => {
    flat('a.raw', 4096);
    writeDescriptor(image, ['encryptionKeys="vmware:key/list"', 'RW 8 FLAT "a.raw" 0']);
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_ENCRYPTED' });
  });

  test('change tracking forbids writing only', () => {
    flat('a.raw', 4096);
    writeDescriptor(image, ['changeTrackPath="a-ctk.vmdk"', 'RW 8 FLAT "a.raw" 0']);
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_READ_ONLY' });
    openImage(image, { readOnly: true }).device.close();
  });
});

describe('chains', () => {
  test('a write near the start of an empty chain does not search the disks beneath', () => {
    const names = ['a', 'b', 'c'].map((name) => join(folder, `${name}.vmdk`));
    names.forEach((path, depth) => {
      createImage(path, { size: 4096 * MIB, backing: names[depth - 1] });
    });
    const { device } = openImage(names[2] ?? '', { readOnly: false });
    const before = performance.now();
    device.write(Buffer.alloc(4096, 1), 0, 4096, 123);
    // Searching to the end took minutes, and hours for larger disks.
    expect(performance.now() - before).toBeLessThan(5000);
    device.close();
  });

  test('a parent with another CID is refused, both files and values named', () => {
    const child = join(folder, 'child.vmdk');
    createImage(child, { size: undefined, backing: image });
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(512, 1), 0, 512, 0);
    device.close();
    const error = refusal(child, true);
    expect(error.code).toBe('VMDK_CID_MISMATCH');
    expect(error.message).toMatch(/child\.vmdk.* [0-9a-f]{8}.*\/disk\.vmdk .* [0-9a-f]{8}/);
  });

  test('a missing parent is refused', () => {
    writeDescriptor(image, ['RW 8 ZERO'], { parentCid: '1', hint: 'gone.vmdk' });
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_MISSING_FILE' });
  });

  test('a parent CID without a hint is refused', () => {
    writeDescriptor(image, ['RW 8 ZERO'], { parentCid: '1' });
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_BAD_DESCRIPTOR' });
  });

  test('a chain that leads back to itself is refused', () => {
    const other = join(folder, 'other.vmdk');
    writeDescriptor(image, ['RW 8 ZERO'], { cid: '1', parentCid: '2', hint: 'other.vmdk' });
    writeDescriptor(other, ['RW 8 ZERO'], { cid: '2', parentCid: '1', hint: 'link/disk.vmdk' });
    symlinkSync('.', join(folder, 'link'));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_CHAIN_LOOP' });
  });

  test('a chain of 257 images is refused, of 256 opened', () => {
    const name = (index: number): string => join(folder, `link-${index}.vmdk`);
    writeDescriptor(name(0), ['RW 8 ZERO'], { cid: '1' });
    for (let index = 1; index < 257; index++) {
      const parent = { cid: '1', parentCid: '1', hint: `link-${index - 1}.vmdk` };
      writeDescriptor(name(index), ['RW 8 ZERO'], parent);
    }
    expect(refusal(name(256), true)).toMatchObject({ code: 'VMDK_CHAIN_TOO_LONG' });
    openImage(name(255), { readOnly: true }).device.close();
  });

  test('a symlinked image finds its extents beside the link or beside the file', () => {
    mkdirSync(join(folder, 'store'));
    writeFileSync(join(folder, 'store', 'a.raw'), Buffer.alloc(4096, 5));
    writeDescriptor(join(folder, 'store', 'd.vmdk'), ['RW 8 FLAT "a.raw" 0']);
    symlinkSync('store/d.vmdk', join(folder, 'd.vmdk'));
    openImage(join(folder, 'd.vmdk'), { readOnly: true }).device.close();
    copyFileSync(join(folder, 'store', 'a.raw'), join(folder, 'a.raw'));
    openImage(join(folder, 'd.vmdk'), { readOnly: true }).device.close();
  });
});
