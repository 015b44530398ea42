/**
 * From one program to the next: an image is written through a mount, umount(8) returns while the
 * server still closes it, and the next command begins at once. Whatever the command is, everything
 * that was written so far is there afterwards. VMDKFS_HANDOVER_ROUNDS sets how often for each disk.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { pattern } from '../helpers/made-disk.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { run, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { Random } from './recorded-disk.js';

const ROUNDS = Number(process.env['VMDKFS_HANDOVER_ROUNDS'] ?? 2);

const MIB = 1024 * 1024;
const SIZE = 256 * MIB;
const BLOCK = 4096;
const BLOCKS_A_ROUND = 24;

/** How long a program that closes an image may keep the next one waiting, in ms. */
const IN_USE_MS = 60_000;

const SUBFORMATS: readonly Subformat[] = [
  'monolithicSparse',
  'twoGbMaxExtentSparse',
  'vmfsSparse',
  'seSparse',
];

/** An image that is handed from program to program, and what it holds. */
class Handed {
  readonly folder: string;
  readonly image: string;
  readonly base: string;
  readonly #blocks = new Map<number, Buffer>();
  readonly #random: Random;

  constructor(folder: string, subformat: Subformat, seed: number) {
    this.folder = folder;
    this.base = join(folder, 'base.vmdk');
    this.image = join(folder, 'disk.vmdk');
    createImage(this.base, { size: SIZE, backing: undefined, subformat });
    createImage(this.image, { size: undefined, backing: this.base, subformat });
    this.#random = new Random(seed);
  }

  /** Writes blocks anywhere on `disk`. Closing it makes them durable. */
  async write(disk: string, seed: number): Promise<void> {
    const file = await open(disk, 'r+');
    try {
      for (let index = 0; index < BLOCKS_A_ROUND; index++) {
        const at = this.#random.below(SIZE / BLOCK) * BLOCK;
        const bytes = pattern(BLOCK, seed * BLOCKS_A_ROUND + index);
        await file.write(bytes, 0, BLOCK, at);
        this.#blocks.set(at, bytes);
      }
    } finally {
      await file.close();
    }
  }

  /** Where `path`, a mounted or plain disk, differs from what was written. */
  async differences(path: string): Promise<number[]> {
    const file = await open(path, 'r');
    const found: number[] = [];
    try {
      for (const [at, bytes] of this.#blocks) {
        const { buffer } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, at);
        if (!buffer.equals(bytes)) found.push(at);
      }
    } finally {
      await file.close();
    }
    return found;
  }

  /** Where the disk of the image `path` differs from what was written. */
  imageDifferences(path: string): number[] {
    const { device } = openImage(path, { readOnly: true });
    try {
      const found = Buffer.alloc(BLOCK);
      return [...this.#blocks].flatMap(([at, bytes]) => {
        device.read(found, 0, BLOCK, at);
        return found.equals(bytes) ? [] : [at];
      });
    } finally {
      device.close();
    }
  }
}

/** Runs `vmdkfs`, again as long as the image is in use, which it says at once; it has to succeed. */
async function vmdkfsWhenFree(...args: readonly string[]): Promise<void> {
  const end = performance.now() + IN_USE_MS;
  for (;;) {
    const { code, stderr } = await vmdkfs(...args);
    if (code === 0) return;
    const what = `vmdkfs ${args.join(' ')}: exit code ${code}: ${stderr}`;
    if (code !== 6 || performance.now() > end) throw new Error(what);
    await sleep(10);
  }
}

/** Mounts `image` at `mountpoint`, has `use` work with the disk, and unmounts it with umount(8). */
async function mounted(
  image: string,
  mountpoint: string,
  use: (disk: string) => Promise<void>,
  ...options: readonly string[]
): Promise<void> {
  await vmdkfsWhenFree('mount', image, mountpoint, ...options);
  await use(join(mountpoint, 'disk.raw'));
  const { code, stderr } = await run('umount', [mountpoint]);
  expect(`${code} ${stderr}`).toBe('0 ');
}

/** What comes right after umount(8), in turn. Each leaves the disk as it is. */
const SUCCESSORS: readonly ((handed: Handed, mountpoint: string) => Promise<void>)[] = [
  async ({ image }) => {
    await vmdkfsWhenFree('check', image);
  },
  async (handed) => {
    const copy = join(handed.folder, 'copy.raw');
    await vmdkfsWhenFree('convert', '-t', 'raw', '--force', handed.image, copy);
    expect(await handed.differences(copy)).toEqual([]);
  },
  async (handed, mountpoint) => {
    await mounted(handed.image, mountpoint, async (disk) => {
      expect(await handed.differences(disk)).toEqual([]);
    });
  },
  async ({ image }) => {
    await vmdkfsWhenFree('compact', image);
  },
  async ({ image }) => {
    await vmdkfsWhenFree('commit', image);
  },
  async (handed, mountpoint) => {
    const overlay = join(handed.folder, 'overlay.vmdk');
    const use = async (disk: string): Promise<void> => {
      expect(await handed.differences(disk)).toEqual([]);
    };
    await mounted(handed.image, mountpoint, use, '--overlay', overlay);
    rmSync(overlay);
  },
  async (handed) => {
    const child = join(handed.folder, 'child.vmdk');
    await vmdkfsWhenFree('create', child, '--backing', handed.image);
    expect(handed.imageDifferences(child)).toEqual([]);
    rmSync(child);
  },
];

const needs = isMissing('images handed on', 'fuse', 'root');

describe.skipIf(needs)('right after umount(8)', () => {
  test.each(SUBFORMATS)('every command finds all that was written: %s', async (subformat) => {
    const number = SUBFORMATS.indexOf(subformat);
    const handed = new Handed(tempFolder(), subformat, number + 1);
    const mountpoint = join(handed.folder, 'mnt');
    mkdirSync(mountpoint);
    onTestFinished(async () => {
      if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
    });
    for (let round = 0; round < ROUNDS; round++) {
      await mounted(handed.image, mountpoint, async (disk) => {
        expect(await handed.differences(disk)).toEqual([]);
        await handed.write(disk, round);
      });
      // Each kind of image begins with other commands.
      const turn = (number * ROUNDS + round) % SUCCESSORS.length;
      await SUCCESSORS[turn]?.(handed, mountpoint);
    }
    await vmdkfsWhenFree('check', handed.image);
    expect(handed.imageDifferences(handed.image)).toEqual([]);
  });
});
