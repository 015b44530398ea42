/** Streams as parts of larger disks: parents, and extents among others. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { streamDisk } from '../helpers/delta-kinds.js';
import { errnoOf, openDisk, readDisk } from '../helpers/disk-reading.js';
import { writeDescriptor } from '../helpers/images.js';
import { contentOf, grainsOf, pattern } from '../helpers/made-disk.js';
import { peek } from '../helpers/poke.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { writeStreamFile } from '../helpers/stream-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTOR = 512;
const GRAIN = 64 * 1024;
const MIB = 1024 * 1024;
const EROFS = -30;

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
});
describe('a stream as a part of a disk', () => {
  test('a child over a stream is written, and the stream stays as it was', () => {
    const { content } = streamDisk(folder, 'base', 2001);
    const before = readFileSync(join(folder, 'base.vmdk'));
    createImage(image, { size: undefined, backing: join(folder, 'base.vmdk') });
    const device = openDisk(image, false);
    const bytes = pattern(5000, 3);
    device.write(bytes, 0, bytes.length, 4 * GRAIN - 2000);
    bytes.copy(content, 4 * GRAIN - 2000);
    device.zero(100, 9000);
    content.fill(0, 100, 9100);
    device.flush();
    expect(readDisk(device, 0, content.length).equals(content)).toBe(true);
    expect(readFileSync(join(folder, 'base.vmdk')).equals(before)).toBe(true);
  });

  /** A disk of a stream of 4 grains and a flat extent of a mebibyte. */
  function mixed(): Buffer {
    const grains = grainsOf(GRAIN, 0, 3);
    writeStreamFile(join(folder, 's.vmdk'), { family: 'footer', sectors: 512, grains });
    const plain = pattern(MIB, 5);
    writeFileSync(join(folder, 'f.vmdk'), plain);
    writeDescriptor(image, ['RDONLY 512 SPARSE "s.vmdk"', 'RW 2048 FLAT "f.vmdk" 0']);
    return Buffer.concat([contentOf(512, GRAIN, grains), plain]);
  }

  test('its other extents are written, a write that touches it is EROFS and changes nothing', () => {
    const content = mixed();
    const before = readFileSync(join(folder, 's.vmdk'));
    const { device, notices } = openImage(image, { readOnly: false });
    expect(device.readOnly).toBe(false);
    expect(notices).toEqual([]);
    const bytes = pattern(3000, 8);
    const start = 4 * GRAIN;
    expect(
      errnoOf(() => {
        device.write(bytes, 0, 3000, start - 10);
      }),
    ).toBe(EROFS);
    expect(
      errnoOf(() => {
        device.zero(0, 512);
      }),
    ).toBe(EROFS);
    expect(
      errnoOf(() => {
        device.zero(start - 1, 2);
      }),
    ).toBe(EROFS);
    expect(readDisk(device, 0, content.length).equals(content)).toBe(true);
    device.write(bytes, 0, 3000, start);
    bytes.copy(content, start);
    device.close();
    expect(readDisk(openDisk(image), 0, content.length).equals(content)).toBe(true);
    expect(readFileSync(join(folder, 's.vmdk')).equals(before)).toBe(true);
  });

  test('with the descriptor inside the stream its other extents are written too', () => {
    const content = mixed();
    const descriptor = readFileSync(image).toString('latin1');
    const grains = grainsOf(GRAIN, 0, 3);
    writeStreamFile(image, { family: 'front', sectors: 512, grains, descriptor });
    const device = openDisk(image, false);
    const bytes = pattern(3000, 8);
    device.write(bytes, 0, 3000, 4 * GRAIN);
    bytes.copy(content, 4 * GRAIN);
    expect(readDisk(device, 0, content.length).equals(content)).toBe(true);
    expect(/^CID=12345678$/m.test(peek(image, 512, 512).toString('latin1'))).toBe(false);
  });

  test('with the descriptor inside a sparse extent that is RDONLY its other extents are written', () => {
    writeFileSync(join(folder, 'f.vmdk'), Buffer.alloc(4096));
    const descriptor =
      '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\nRDONLY 256 SPARSE "x"\nRW 8 FLAT "f.vmdk" 0\n';
    writeSparseFile(image, { sectors: 256, grainSectors: 8, tableEntries: 512, descriptor });
    const device = openDisk(image, false);
    device.write(Buffer.alloc(4096, 9), 0, 4096, 256 * SECTOR);
    device.flush();
    expect(readFileSync(join(folder, 'f.vmdk')).equals(Buffer.alloc(4096, 9))).toBe(true);
    expect(
      errnoOf(() => {
        device.write(Buffer.alloc(1, 1), 0, 1, 0);
      }),
    ).toBe(EROFS);
  });
});
