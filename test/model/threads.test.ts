/**
 * Several threads write and zero in one image at the same time, a sector here and there, so that they meet
 * in the same new grains and tables, while another flushes without a pause. Every sector belongs
 * to one thread, so what must be there in the end is known.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';

const SECTOR = 512;
const ENGINE = new URL('../../dist/block/attach-image.js', import.meta.url).href;

/** Writes sectors `part`, `part + parts`, ... in an order of its own, each twice, and reads them back. */
const WRITER = `
  const { workerData } = require('node:worker_threads');
  import('${ENGINE}').then(({ attachImage }) => {
    const { image, part, parts, sectors } = workerData;
    const device = attachImage(image);
    const own = [];
    for (let sector = part; sector < sectors; sector += parts) own.push(sector);
    let state = part + 1;
    for (let index = own.length - 1; index > 0; index--) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const other = Math.floor((state / 2 ** 32) * (index + 1));
      [own[index], own[other]] = [own[other], own[index]];
    }
    const zeroed = own.slice(0, Math.ceil(own.length / 2)).filter((sector) => sector % 7 === 0);
    const bytes = Buffer.alloc(512);
    const back = Buffer.alloc(512);
    for (const round of [1, 2]) {
      for (const sector of own.slice(0, Math.ceil(own.length / 2))) {
        bytes.fill(((sector * 7 + round) % 255) + 1);
        device.write(bytes, 0, 512, sector * 512);
        device.read(back, 0, 512, sector * 512);
        if (!back.equals(bytes)) throw new Error('sector ' + sector + ' reads back wrong');
      }
    }
    for (const sector of zeroed) {
      device.zero(sector * 512, 512);
      device.read(back, 0, 512, sector * 512);
      if (!back.equals(Buffer.alloc(512))) throw new Error('sector ' + sector + ' is not zero');
    }
    require('node:worker_threads').parentPort.postMessage(own.slice(0, Math.ceil(own.length / 2)));
  });`;

const FLUSHER = `
  const { workerData } = require('node:worker_threads');
  import('${ENGINE}').then(({ attachImage }) => {
    const device = attachImage(workerData.image);
    const word = new Int32Array(workerData.control);
    while (Atomics.load(word, 0) === 0) device.flush();
  });`;

/** The sectors that a thread wrote, or its error. */
function sectorsOf(worker: Worker): Promise<number[]> {
  return new Promise((resolve, reject) => {
    let sectors: number[] = [];
    worker.on('message', (message: number[]) => (sectors = message));
    worker.on('error', reject);
    worker.on('exit', () => {
      resolve(sectors);
    });
  });
}

describe('threads that write to one image', () => {
  const kinds = DISK_KINDS.filter(({ name }) =>
    /16 tables|without tables|unequal|two tables|shuffled|every type|child/.test(name),
  );
  const cases = kinds.flatMap((kind) =>
    [2, 8].flatMap((parts) =>
      [256 * 1024 * 1024, 1].map((tableMemory) => ({ kind, name: kind.name, parts, tableMemory })),
    ),
  );

  test.each(cases)(
    '$name: $parts threads, $tableMemory bytes for tables',
    async ({ kind, parts, tableMemory }) => {
      const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-threads-'));
      try {
        const made = kind.make(folder);
        const { description, device } = openImage(made.image, { readOnly: false, tableMemory });
        const control = new SharedArrayBuffer(4);
        const flusher = new Worker(FLUSHER, {
          eval: true,
          workerData: { image: description, control },
        });
        const flushed = sectorsOf(flusher);
        const sectors = Math.min(2000, Math.floor(made.content.length / SECTOR));
        const written = await Promise.all(
          Array.from({ length: parts }, (_, part) =>
            sectorsOf(
              new Worker(WRITER, {
                eval: true,
                workerData: { image: description, part, parts, sectors },
              }),
            ),
          ),
        );
        Atomics.store(new Int32Array(control), 0, 1);
        await flushed;
        device.close();
        const content = Buffer.from(made.content);
        for (const sector of written.flat()) {
          const value = sector % 7 === 0 ? 0 : ((sector * 7 + 2) % 255) + 1;
          content.fill(value, sector * SECTOR, (sector + 1) * SECTOR);
        }
        expect(written.flat().length).toBeGreaterThanOrEqual(Math.floor(sectors / 2));
        const again = openImage(made.image, { readOnly: true }).device;
        const found = Buffer.alloc(content.length);
        again.read(found, 0, found.length, 0);
        again.close();
        expect(found.equals(content)).toBe(true);
        for (const file of made.sparseFiles) expect(inspectExtentFile(file).problems).toEqual([]);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );
});
