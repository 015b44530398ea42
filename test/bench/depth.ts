/**
 * `npm run bench:depth`: what a read of 4 KiB costs in the engine alone, without a mount, by the
 * number of images in the chain. All data read is in the base and in the page cache; every child has
 * a grain of its own in each of its tables, so that no table can be passed over.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockDevice } from '../../src/block/block-device.js';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { randomFilling, shuffled } from './filling.js';
import { run } from './programs.js';
import { median } from './statistics.js';

const DEPTHS = [1, 2, 10, 30, 60];
const ROUNDS = 15;
const MIB = 1024 * 1024;
const DISK_BYTES = 128 * MIB;
const BLOCK_BYTES = 4096;
const GRAIN_BYTES = 64 * 1024;
/** What one grain table maps. */
const TABLE_MAPS_BYTES = 512 * GRAIN_BYTES;
/** The grains of each table that children have for themselves, one each. */
const OWN_GRAINS = 64;

/** One depth and its costs in nanoseconds a read. */
interface Chain {
  readonly depth: number;
  readonly device: BlockDevice;
  /** When nothing has been read before. */
  readonly first: number;
  readonly again: number[];
}

const target = Buffer.alloc(BLOCK_BYTES);
const places = shuffled(DISK_BYTES / BLOCK_BYTES)
  .map((block) => block * BLOCK_BYTES)
  .filter((offset) => offset % TABLE_MAPS_BYTES >= OWN_GRAINS * GRAIN_BYTES);

const folder = await mkdtemp(join(tmpdir(), 'vmdkfs-depth-'));
try {
  const images = await makeChain(folder);
  // What runs first pays for compiling it.
  measure(images, [2, 1]);
  report(measure(images, DEPTHS));
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Images that each have the one before as their parent. */
async function makeChain(folder: string): Promise<string[]> {
  const raw = join(folder, 'base.raw');
  const images = [join(folder, 'base.vmdk')];
  await writeFile(raw, randomFilling(DISK_BYTES));
  await run('qemu-img', ['convert', '-f', 'raw', raw, '-O', 'vmdk', images[0] ?? '']);
  for (let depth = 2; depth <= Math.max(...DEPTHS); depth++) {
    const child = join(folder, `child-${depth}.vmdk`);
    createImage(child, { size: undefined, backing: images.at(-1) });
    const { device } = openImage(child, { readOnly: false });
    const own = depth * GRAIN_BYTES;
    for (let table = 0; table < DISK_BYTES; table += TABLE_MAPS_BYTES) {
      device.write(target, 0, target.length, table + own);
    }
    device.close();
    images.push(child);
  }
  return images;
}

/** Measures all depths in turns. */
function measure(images: readonly string[], depths: readonly number[]): Chain[] {
  const chains = depths.map((depth): Chain => {
    const { device } = openImage(images[depth - 1] ?? '', { readOnly: true });
    return { depth, device, first: costOfRead(device), again: [] };
  });
  for (let round = 0; round < ROUNDS; round++) {
    for (const { again, device } of chains) again.push(costOfRead(device));
  }
  for (const { device } of chains) device.close();
  return chains;
}

/** Reads all places; nanoseconds for each. */
function costOfRead(device: BlockDevice): number {
  const start = process.hrtime.bigint();
  for (const offset of places) device.read(target, 0, BLOCK_BYTES, offset);
  return Number(process.hrtime.bigint() - start) / places.length;
}

function report(chains: readonly Chain[]): void {
  for (const { again, depth, first } of chains) {
    const cost = median(again).toFixed(0);
    console.log(`${depth} images: ${cost} ns a read, ${first.toFixed(0)} ns the first time`);
  }
}
