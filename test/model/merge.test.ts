/**
 * Children of every make merged into parents of every make, after random writes to both: the parent
 * holds the disk of the child then, the child is empty and still shows the same, nothing behind the
 * end of the child has changed, and no parent of the parent.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { mergeChild } from '../../src/block/merge-child.js';
import { Random } from '../crash/random.js';
import { checkImageFile } from '../helpers/checked.js';
import { readAll } from '../helpers/disk-reading.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';
import { CHILD_KINDS, cidOf, holdsNothing, scribble } from '../helpers/made-child.js';
import { peek } from '../helpers/poke.js';
import { tempFolder } from '../helpers/temp-folder.js';

/** How often each parent is tried, with other children. */
const RUNS = Math.max(1, Math.round(Number(process.env['VMDKFS_MODEL_RUNS'] ?? 20) / 10));

const OPTIONS = {
  permissions: {},
  deleteChild: false,
  lock: false,
  warn: () => undefined,
  progress: () => undefined,
};

/** The files of the child that are extents. */
function extentsOf(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith('top'))
    .map((name) => join(folder, name))
    .filter((file) => !peek(file, 0, 6).toString('latin1').startsWith('# Disk'));
}

function expectSound(image: string): void {
  const { problems } = checkImageFile(image);
  expect(problems.list.map(({ message }) => message)).toEqual([]);
}

describe('a child is merged into', () => {
  test.each(DISK_KINDS.map((kind, index) => ({ kind, name: kind.name, seed: index })))(
    '$name',
    { timeout: 300_000 },
    ({ kind, seed }) => {
      for (let run = 0; run < (kind.isLarge === true ? 1 : RUNS); run++) {
        const random = new Random(seed * 1000 + run);
        const folder = tempFolder();
        const { image: parent, parents, sparseFiles } = kind.make(folder);
        const before = scribble(parent, random, 6);
        const others = parents.map((path) => readFileSync(path));
        const child = random.pick(CHILD_KINDS);
        // Now and then a child that is smaller.
        const missing = Math.min(900, before.length / 512 - 1);
        const size = before.length - 512 * (random.below(3) === 0 ? random.below(missing) : 0);
        const image = child.make(folder, parent, size);
        // The second time the child was emptied before.
        for (const round of [1, 2]) {
          const content = scribble(image, random, 8);
          const cid = cidOf(parent);
          mergeChild(image, OPTIONS);
          const what = `${child.name}, run ${run}, round ${round}`;
          const after = readAll(parent);
          expect(after.subarray(0, size).equals(content), what).toBe(true);
          expect(after.subarray(size).equals(before.subarray(size)), what).toBe(true);
          expect(readAll(image).equals(content), what).toBe(true);
          expect(holdsNothing(image), what).toBe(true);
          expect(cidOf(parent), what).not.toBe(cid);
          expect(cidOf(image, 'parentCID'), what).toBe(cidOf(parent));
          expectSound(image);
          const files = [...sparseFiles, ...extentsOf(folder)];
          expect(
            files.flatMap((file) => inspectExtentFile(file).problems),
            what,
          ).toEqual([]);
        }
        parents.forEach((path, index) => {
          expect(readFileSync(path).equals(others[index]!)).toBe(true);
        });
      }
    },
  );
});
