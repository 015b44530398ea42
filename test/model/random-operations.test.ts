import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { hashes } from '../helpers/hashes.js';
import { DiskModel, operation } from './disk-model.js';

const RUNS = Number(process.env['VMDKFS_MODEL_RUNS'] ?? 60);

describe('random operations leave a disk as they leave a plain array', () => {
  const memories = [
    { memory: 256 * 1024 * 1024, title: 'all tables in memory' },
    { memory: 1, title: 'one table of each extent in memory' },
  ];
  for (const { memory, title } of memories) {
    test.each(DISK_KINDS)(`$name, ${title}`, (kind) => {
      fc.assert(
        fc.property(fc.array(operation, { minLength: 1, maxLength: 25 }), (steps) => {
          const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-model-'));
          try {
            const made = kind.make(folder);
            const before = hashes(made.parents);
            const model = new DiskModel(made, () => {
              return openImage(made.image, { readOnly: false, tableMemory: memory }).device;
            });
            for (const step of steps) model.apply(step);
            model.finish();
            expect(hashes(made.parents)).toEqual(before);
          } finally {
            rmSync(folder, { recursive: true, force: true });
          }
        }),
        { numRuns: Math.ceil(RUNS / (kind.isLarge === true ? 20 : 4)) },
      );
    });
  }
});
