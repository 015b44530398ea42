/**
 * Many writers on one mount, on overlapping and neighbouring ranges, with 1, 2 and 8 serving
 * threads. In each round writes and flushes are under way together; when all have returned,
 * every sector must be what one of those that covered it made of it, or what it was before.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run } from '../helpers/run.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { readFileSync, writeFileSync } from 'node:fs';

/** Rounds for each disk and number of threads. */
const ROUNDS = Number(process.env['VMDKFS_MODEL_RUNS'] ?? 100);

/** Requests under way at a time: threads of libuv in the writer. */
const PARALLEL = 12;

/**
 * Runs in a process of its own, which has the threads for it. O_DIRECT, so that the page cache
 * neither joins nor orders the requests. Prints the image that it expects, or fails.
 */
const WRITER = `
const fs = require('node:fs');
const { promisify } = require('node:util');
const [disk, contentFile, rounds, seed] = process.argv.slice(1);
const content = fs.readFileSync(contentFile);
const SECTOR = 512;
const sectors = content.length / SECTOR;
let state = Number(seed);
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const fd = fs.openSync(disk, fs.constants.O_RDWR | fs.constants.O_DIRECT);
const write = promisify(fs.write);
const read = promisify(fs.read);
const fdatasync = promisify(fs.fdatasync);
(async () => {
  for (let round = 0; round < Number(rounds); round++) {
    const centre = random(sectors);
    const writes = [];
    for (let index = 0; index < ${PARALLEL}; index++) {
      const first = Math.max(0, Math.min(sectors - 1, centre + random(600) - 300));
      const count = Math.min(sectors - first, 1 + random(random(4) === 0 ? 400 : 20));
      writes.push({ first, count, value: 1 + ((round * ${PARALLEL} + index) % 255) });
    }
    const flushes = random(3) === 0 ? [fdatasync(fd)] : [];
    await Promise.all([
      ...writes.map(async ({ first, count, value }) => {
        const bytes = Buffer.alloc(count * SECTOR, value);
        const { bytesWritten } = await write(fd, bytes, 0, bytes.length, first * SECTOR);
        if (bytesWritten !== bytes.length) throw new Error('short write of ' + bytesWritten);
      }),
      ...flushes,
    ]);
    const low = Math.min(...writes.map((each) => each.first));
    const high = Math.max(...writes.map((each) => each.first + each.count));
    const found = Buffer.alloc((high - low) * SECTOR);
    await read(fd, found, 0, found.length, low * SECTOR);
    for (let sector = low; sector < high; sector++) {
      const bytes = found.subarray((sector - low) * SECTOR, (sector - low + 1) * SECTOR);
      const covering = writes.filter((each) => each.first <= sector && sector < each.first + each.count);
      const before = content.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      const isRight = covering.length === 0
        ? bytes.equals(before)
        : covering.some(({ value }) => bytes.equals(Buffer.alloc(SECTOR, value)));
      if (!isRight) throw new Error('round ' + round + ', sector ' + sector + ' holds ' + bytes[0]);
      bytes.copy(before);
    }
  }
  fs.closeSync(fd);
  fs.writeFileSync(contentFile, content);
})().catch((error) => {
  console.error(String(error));
  process.exit(1);
});`;

const kinds = DISK_KINDS.filter(({ name }) =>
  /of our own making, 3 MiB|without tables|unequal|zeroed grains over/.test(name),
);

describe.skipIf(isMissing('many writers', 'fuse'))('many writers on one mount', () => {
  const cases = kinds.flatMap((kind) =>
    [1, 2, 8].map((workers) => ({ kind, name: kind.name, workers })),
  );

  test.each(cases)('$name: $workers threads', { timeout: 300_000 }, async ({ kind, workers }) => {
    const folder = tempFolder();
    const made = kind.make(folder);
    const parents = made.parents.map((path) => readFileSync(path));
    const contentFile = join(folder, 'content');
    writeFileSync(contentFile, made.content);
    const { disk, unmount } = await mountImage(made.image, '--workers', String(workers));
    const args = ['-e', WRITER, disk, contentFile, String(ROUNDS), String(workers + 40)];
    const env = { ...process.env, UV_THREADPOOL_SIZE: String(PARALLEL) };
    expect(await run(process.execPath, args, { env })).toEqual({ code: 0, stdout: '', stderr: '' });
    await check('cmp', disk, contentFile);
    await unmount();
    const { device } = openImage(made.image, { readOnly: true });
    const found = Buffer.alloc(device.size);
    device.read(found, 0, found.length, 0);
    device.close();
    expect(found.equals(readFileSync(contentFile))).toBe(true);
    for (const file of made.sparseFiles) expect(inspectExtentFile(file).problems).toEqual([]);
    made.parents.forEach((path, index) => {
      expect(readFileSync(path).equals(parents[index] ?? Buffer.alloc(0)), path).toBe(true);
    });
  });
});
