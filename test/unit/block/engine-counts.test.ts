import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { engineCounts } from '../../../src/block/attach-image.js';
import { createImage } from '../../../src/block/create-image.js';
import { openImage, type OpenedImage } from '../../../src/block/open-image.js';
import { makeStream } from '../../helpers/stream-image.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const GRAIN = 64 * 1024;
const SECTOR = 512;

function open(image: string, readOnly = false): OpenedImage {
  const opened = openImage(image, { readOnly });
  onTestFinished(() => {
    opened.device.close();
  });
  return opened;
}

describe('the engine counts', () => {
  test('new grains, what is copied from a parent, tables, flushes and barriers', () => {
    const folder = tempFolder();
    const [base, child] = [join(folder, 'base.vmdk'), join(folder, 'child.vmdk')];
    createImage(base, { size: 1024 * GRAIN, backing: undefined });
    const written = openImage(base, { readOnly: false });
    written.device.write(Buffer.alloc(4 * GRAIN, 1), 0, 4 * GRAIN, 0);
    expect(engineCounts(written.description)).toMatchObject({ grainsAllocated: 4, copyFills: 0 });
    written.device.close();
    createImage(child, { size: undefined, backing: base });

    const { description, device } = open(child);
    expect(engineCounts(description)).toMatchObject({ grainsAllocated: 0, tableLoads: 0 });
    device.flush();
    expect(engineCounts(description)).toMatchObject({ flushes: 0, barriers: 0 });
    const page = Buffer.alloc(4096, 2);
    device.write(page, 0, page.length, 8192);
    // Before and behind the page; the table of the base was read for it.
    const afterOne = engineCounts(description);
    expect(afterOne).toMatchObject({ grainsAllocated: 1, copyFills: 2 });
    expect(afterOne.tableLoads).toBeGreaterThan(0);
    device.write(page, 0, page.length, 8192);
    device.write(page, 0, page.length, 100 * GRAIN);
    // Nothing lies beneath the second grain.
    expect(engineCounts(description)).toMatchObject({ grainsAllocated: 2, copyFills: 2 });
    device.flush();
    const flushed = engineCounts(description);
    expect(flushed.flushes).toBe(1);
    expect(flushed.barriers).toBeGreaterThan(1);
    device.flush();
    expect(engineCounts(description)).toEqual(flushed);
  });

  test('inflated grains that were in the cache, and that were not', () => {
    const image = join(tempFolder(), 'stream.vmdk');
    const grains = new Map([0, 1].map((grain) => [grain, Buffer.alloc(GRAIN, grain + 1)]));
    makeStream(image, { family: 'footer', sectors: (4 * GRAIN) / SECTOR, grains });
    const { description, device } = open(image, true);
    const page = Buffer.alloc(4096);
    for (const offset of [0, 4096, 8192, GRAIN, 2 * GRAIN]) device.read(page, 0, 4096, offset);
    expect(engineCounts(description)).toMatchObject({ cacheHits: 2, cacheMisses: 2 });
  });
});
