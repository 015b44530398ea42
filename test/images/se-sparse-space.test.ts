/** A seSparse file has as many grains as its disk: what crashes leave of them must not be lost. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { pattern } from '../helpers/made-disk.js';
import { writeDescriptor } from '../helpers/images.js';
import { poke } from '../helpers/poke.js';
import { inspectSeSparseFile, writeSeSparseFile } from '../helpers/sesparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 4096;
const GRAINS = 256;

/** A disk with grain 5 in place 0 of the file, whose bitmap has the first `used` places as used. */
function leakyDisk(used: number): { image: string; extent: string } {
  const folder = tempFolder();
  const [image, extent] = [join(folder, 'disk.vmdk'), join(folder, 'extent.vmdk')];
  const sectors = (GRAINS * GRAIN) / 512;
  const grains = new Map([[5, pattern(GRAIN, 1)]]);
  const { bitmapOffset } = writeSeSparseFile(extent, { sectors, grains });
  poke(extent, bitmapOffset, Buffer.alloc(used / 8, 0xff));
  writeDescriptor(image, [`RW ${sectors} SESPARSE "extent.vmdk"`], { createType: 'seSparse' });
  return { image, extent };
}

function write(image: string, bytes: Buffer, offset: number): void {
  const { device } = openImage(image, { readOnly: false });
  device.write(bytes, 0, bytes.length, offset);
  device.close();
}

describe('grains that only the bitmap of a seSparse extent knows', () => {
  test.each([8, 128, GRAINS])('%i of them leave room for all of the disk', (used) => {
    const { extent, image } = leakyDisk(used);
    const content = pattern(GRAINS * GRAIN, 2);
    for (let part = 0; part < 4; part++) {
      const bytes = content.subarray(
        (part * GRAINS * GRAIN) / 4,
        ((part + 1) * GRAINS * GRAIN) / 4,
      );
      write(image, bytes, (part * GRAINS * GRAIN) / 4);
      expect(inspectSeSparseFile(extent).problems).toEqual([]);
    }
    const { device } = openImage(image, { readOnly: true });
    const found = Buffer.alloc(content.length);
    device.read(found, 0, found.length, 0);
    device.close();
    expect(found.equals(content)).toBe(true);
  });
});
