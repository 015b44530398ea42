/** Grains larger than VMware's, which QEMU reads: a grain may be larger than any buffer. */
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { compactImage } from '../../src/block/compact/compact-image.js';
import { mergeChild } from '../../src/block/merge-child.js';
import { openImage } from '../../src/block/open-image.js';
import { grainsOf, pattern } from '../helpers/made-disk.js';
import { refusal } from '../helpers/refusal.js';
import { isMissing } from '../helpers/requirements.js';
import { check, vmdkfs } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});

function make(path: string, sectors: number, grainSectors: number, parent = ''): void {
  const descriptor = `# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID=ffffffff\n${parent}createType="monolithicSparse"\nRW ${sectors} SPARSE "x"\n`;
  writeSparseFile(path, { sectors, grainSectors, tableEntries: 128, descriptor });
}

function write(path: string, offset: number, data: Buffer): void {
  const { device } = openImage(path, { readOnly: false });
  device.write(data, 0, data.length, offset);
  device.close();
}

function contentOf(path: string): Buffer {
  const { device } = openImage(path, { readOnly: true });
  const content = Buffer.alloc(device.size);
  device.read(content, 0, content.length, 0);
  device.close();
  return content;
}

describe.each([4096, 8192, 16_384, 65_536])('grains of %d sectors', (grainSectors) => {
  const sectors = grainSectors * 2 + 1000;

  test('are read and written, and merged from a child over the parent around them', async () => {
    make(image, sectors, grainSectors);
    const content = Buffer.alloc(sectors * 512);
    const first = pattern(3 * MIB, 1);
    write(image, 700_001, first);
    first.copy(content, 700_001);
    expect(contentOf(image).equals(content)).toBe(true);
    const child = join(folder, 'child.vmdk');
    make(child, sectors, grainSectors, 'parentFileNameHint="disk.vmdk"\n');
    const second = pattern(5000, 2);
    write(child, 1_234_567, second);
    second.copy(content, 1_234_567);
    expect(contentOf(child).equals(content)).toBe(true);
    const options = { permissions: {}, deleteChild: false, lock: true };
    mergeChild(child, { ...options, progress: () => undefined, warn: () => undefined });
    expect(contentOf(image).equals(content)).toBe(true);
    expect((await vmdkfs('check', image)).code).toBe(0);
    write(image, 0, Buffer.alloc(grainSectors * 512));
    content.fill(0, 0, grainSectors * 512);
    compactImage(image, { permissions: {}, lock: true, progress: () => undefined });
    expect(contentOf(image).equals(content)).toBe(true);
    expect((await vmdkfs('check', image)).code).toBe(0);
  });

  test.skipIf(isMissing('large grains beside QEMU', 'qemu'))('are what QEMU reads', async () => {
    make(image, sectors, grainSectors);
    write(image, grainSectors * 512 - 1000, pattern(9000, 4));
    const raw = join(folder, 'disk.raw');
    await check('qemu-img', 'convert', '-f', 'vmdk', '-O', 'raw', image, raw);
    const again = join(folder, 'again.raw');
    expect((await vmdkfs('convert', '-t', 'raw', image, again)).code).toBe(0);
    await check('cmp', raw, again);
  });
});

test('compressed grains of 8 MiB are read, larger ones refused with what to do', () => {
  const sectors = 16_384 * 2;
  const grains = grainsOf(16_384 * 512, 1);
  const { content } = makeStream(image, {
    family: 'footer',
    sectors,
    grainSectors: 16_384,
    grains,
  });
  expect(contentOf(image).equals(content)).toBe(true);
  const large = join(folder, 'large.vmdk');
  makeStream(large, { family: 'footer', sectors, grainSectors: 32_768, grains: new Map() });
  expect(refusal(large, true)).toMatchObject({
    code: 'VMDK_UNSUPPORTED',
    message: expect.stringContaining('qemu-img convert makes an image with smaller ones') as string,
  });
});

test('an overlay of usual grains lies over large ones', () => {
  make(image, 10_000, 4096);
  write(image, 5000, pattern(4 * MIB, 3));
  const child = join(folder, 'child.vmdk');
  createImage(child, { size: undefined, backing: image });
  write(child, 3 * MIB + 7, pattern(100, 9));
  const content = contentOf(image);
  pattern(100, 9).copy(content, 3 * MIB + 7);
  expect(contentOf(child).equals(content)).toBe(true);
});
