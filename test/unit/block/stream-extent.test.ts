import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../../src/block/open-image.js';
import {
  STREAM_FAMILIES,
  streamDescriptor,
  writeStreamFile,
  type StreamFamily,
} from '../../helpers/stream-file.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const GRAIN = 64 * 1024;
const TABLE_ENTRIES = 512;
const GRAINS = TABLE_ENTRIES + 8;

/**
 * Grains whose compressed length cannot be told from where the next one lies: behind the next one,
 * longer than a grain (random bytes), before a hole, at the end of a table and of the disk.
 */
function grainsInAnyOrder(): Map<number, Buffer> {
  const order = [5, 4, 3, 0, 1, 2, 8, 510, 509, 511, 515, 512, 513, 514, GRAINS - 1];
  return new Map(
    order.map((grain, index) => {
      const content = index % 3 === 0 ? randomBytes(GRAIN) : Buffer.alloc(GRAIN, grain + 1);
      return [grain, content];
    }),
  );
}

function openStream(family: StreamFamily, grains: ReadonlyMap<number, Buffer>) {
  const path = join(tempFolder(), 'stream.vmdk');
  const sectors = (GRAINS * GRAIN) / 512;
  const descriptor = streamDescriptor(sectors, 'stream.vmdk');
  writeStreamFile(path, { family, sectors, descriptor, grains });
  const { device } = openImage(path, { readOnly: true });
  onTestFinished(() => {
    device.close();
  });
  return device;
}

test.each(STREAM_FAMILIES)('%s: grains lie in any order', (family) => {
  const grains = grainsInAnyOrder();
  const device = openStream(family, grains);
  const zeros = Buffer.alloc(GRAIN);
  const found = Buffer.alloc(GRAIN);
  for (let grain = 0; grain < GRAINS; grain++) {
    found.fill(1);
    device.read(found, 0, GRAIN, grain * GRAIN);
    if (!found.equals(grains.get(grain) ?? zeros)) expect.fail(`grain ${grain} is another one`);
  }
});

test('a part of a grain is the same whether the grain is inflated for it or kept', () => {
  const grains = grainsInAnyOrder();
  const device = openStream('front', grains);
  const found = Buffer.alloc(4096);
  for (const offset of [8192, 0, GRAIN - 4096]) {
    device.read(found, 0, found.length, 5 * GRAIN + offset);
    expect(found.equals(grains.get(5)!.subarray(offset, offset + found.length))).toBe(true);
  }
});
