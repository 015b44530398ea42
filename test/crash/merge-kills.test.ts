/**
 * `vmdkfs commit` is killed at random moments, most of them while the parent is written, and run
 * again: the child shows the same bytes all the time, and in the end the parent has them.
 * VMDKFS_KILL_ROUNDS sets how often for each pair of images.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { checkImageFile } from '../helpers/checked.js';
import { readAll } from '../helpers/disk-reading.js';
import { holdsNothing } from '../helpers/made-child.js';
import { pattern } from '../helpers/made-disk.js';
import { peek } from '../helpers/poke.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { Random } from './random.js';

const ROUNDS = Number(process.env['VMDKFS_KILL_ROUNDS'] ?? 2);

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;

/** Milliseconds that the program takes to start, at the longest that is waited for. */
const START_MS = 300;

/** How the two end: with an exit code, or with a signal. */
interface Ended {
  readonly wasKilled: boolean;
  readonly isMidWrite: boolean;
}

let kills = 0;
let midWrite = 0;
let tooLate = 0;
afterAll(() => {
  console.log(`${kills} kills of a merge, ${midWrite} while it wrote, ${tooLate} came too late`);
});

/** The CID of an image, as it stands in its first sectors. */
function cidNow(image: string): string {
  return /^CID=([0-9a-f]+)/m.exec(peek(image, 0, 2048).toString('latin1'))?.[1] ?? '';
}

/** Writes some MiB in pieces, and discards some. */
function fill(image: string, random: Random): Buffer {
  const { device } = openImage(image, { readOnly: false });
  for (let step = 0; step < 10; step++) {
    const length = 512 + random.below(MIB);
    const at = random.below(SIZE - length);
    if (random.chance(0.2)) device.zero(at, length);
    else device.write(Buffer.alloc(length, pattern(4099, random.below(200))), 0, length, at);
  }
  device.close();
  return readAll(image);
}

/**
 * Starts a merge, and kills it `afterStart` ms after it was started, or `afterCid` ms after the
 * parent has got its new CID, whichever is said.
 */
async function mergeKilled(
  image: string,
  parent: string,
  wait: { readonly afterStart: number } | { readonly afterCid: number },
): Promise<Ended> {
  const cid = cidNow(parent);
  const child = spawn(process.execPath, [CLI, 'commit', image], { stdio: 'ignore' });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const progress = { isOver: false };
  const ended = new Promise<boolean>((resolve) => {
    child.once('close', (_code, signal) => {
      progress.isOver = true;
      resolve(signal === 'SIGKILL');
    });
  });
  if ('afterStart' in wait) {
    await sleep(wait.afterStart);
  } else {
    while (!progress.isOver && cidNow(parent) === cid) await sleep(1);
    await sleep(wait.afterCid);
  }
  child.kill('SIGKILL');
  const wasKilled = await ended;
  return { wasKilled, isMidWrite: wasKilled && cidNow(parent) !== cid };
}

/** Milliseconds from the parent's new CID to the end, of a merge that is not killed. */
async function timeMerge(image: string, parent: string): Promise<number> {
  const cid = cidNow(parent);
  let begin = 0;
  const merged = vmdkfs('commit', image);
  const progress = { isOver: false };
  void merged.finally(() => (progress.isOver = true));
  while (!progress.isOver && cidNow(parent) === cid) await sleep(1);
  begin = performance.now();
  expect(await merged).toMatchObject({ code: 0, stderr: '' });
  return performance.now() - begin;
}

function expectSound(image: string): void {
  const { problems } = checkImageFile(image);
  const errors = problems.list.filter(({ severity }) => severity === 'error');
  expect(errors.map(({ message }) => message)).toEqual([]);
}

const PAIRS: readonly [parent: Subformat, child: Subformat][] = [
  ['monolithicSparse', 'monolithicSparse'],
  ['monolithicFlat', 'vmfsSparse'],
  ['vmfsSparse', 'seSparse'],
  ['seSparse', 'twoGbMaxExtentSparse'],
];

describe('killed while it merges', () => {
  test.each(PAIRS)(
    'a %s parent, a %s child',
    { timeout: 900_000 },
    async (parentKind, childKind) => {
      const folder = tempFolder();
      const parent = join(folder, 'base.vmdk');
      const image = join(folder, 'top.vmdk');
      createImage(parent, { size: SIZE, backing: undefined, subformat: parentKind });
      const random = new Random(PAIRS.findIndex(([kind]) => kind === parentKind) + 1);
      fill(parent, random);
      createImage(image, { size: undefined, backing: parent, subformat: childKind });
      fill(image, random);
      let duration = await timeMerge(image, parent);
      let wanted = ROUNDS;
      // Some kills come too late, and do not count.
      for (let round = 0; wanted > 0 && round < 10 + 4 * ROUNDS; round++) {
        const content = fill(image, random);
        do {
          // Now and then before it has begun.
          const isEarly = random.chance(0.1);
          const wait = isEarly
            ? { afterStart: random.below(START_MS) }
            : { afterCid: random.below(Math.max(2, Math.ceil(duration))) };
          const { isMidWrite, wasKilled } = await mergeKilled(image, parent, wait);
          if (wasKilled) wanted -= 1;
          if (wasKilled) kills += 1;
          else tooLate += 1;
          if (isMidWrite) midWrite += 1;
          const what = `round ${round}, killed ${JSON.stringify(wait)}`;
          expect(readAll(image).equals(content), what).toBe(true);
          expectSound(image);
        } while (random.chance(0.2));
        duration = await timeMerge(image, parent);
        expect(readAll(parent).equals(content), `round ${round}, the parent`).toBe(true);
        expect(readAll(image).equals(content), `round ${round}, the child`).toBe(true);
        expect(holdsNothing(image)).toBe(true);
        expectSound(image);
      }
      if (isMissing(`qemu-img compare with a ${parentKind} parent`, 'qemu')) return;
      const raw = join(folder, 'raw');
      writeFileSync(raw, readAll(parent));
      await check('qemu-img', 'compare', '-f', 'vmdk', '-F', 'raw', parent, raw);
      await check('qemu-img', 'compare', '-f', 'vmdk', '-F', 'raw', image, raw);
    },
  );
});
