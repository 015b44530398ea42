/** `vmdkfs commit --delete`: every file of the child goes once, by whatever name it was called. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { writeDisk } from '../helpers/checked.js';
import { readAll } from '../helpers/disk-reading.js';
import { chain } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { asNobody } from '../helpers/nobody.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 64 * 1024;
const SIZE = 16 * GRAIN;

const NOBODY = 65534;

let folder: string;
let parent: string;
let child: string;

beforeEach(() => {
  folder = tempFolder();
  parent = join(folder, 'base.vmdk');
  child = join(folder, 'top.vmdk');
  createImage(parent, { size: SIZE, backing: undefined });
  writeDisk(parent, pattern(SIZE, 1), 0);
});

describe('the child is named by', () => {
  beforeEach(() => {
    createImage(child, { size: undefined, backing: parent, subformat: 'twoGbMaxExtentSparse' });
    writeDisk(child, pattern(GRAIN, 2), GRAIN);
    symlinkSync('.', join(folder, 'link'));
    symlinkSync('top.vmdk', join(folder, 'named.vmdk'));
    const beside = `${folder}-link`;
    symlinkSync(folder, beside);
    onTestFinished(() => {
      rmSync(beside);
    });
  });

  /** Merges the child called `name`, a path from its folder. */
  async function commit(name: string): Promise<void> {
    const content = readAll(child);
    const args = [CLI, 'commit', name, '--delete', '--json'];
    const { code, stderr, stdout } = await run(process.execPath, args, { cwd: folder });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ image: name, dataBytes: GRAIN, deleted: true });
    expect(readAll(parent).equals(content)).toBe(true);
  }

  test('its name in the current folder', async () => {
    await commit('top.vmdk');
    expect(readdirSync(folder).sort()).toEqual(['base.vmdk', 'link', 'named.vmdk']);
  });

  test('a path through a linked folder', async () => {
    await commit('link/top.vmdk');
    expect(readdirSync(folder).sort()).toEqual(['base.vmdk', 'link', 'named.vmdk']);
  });

  test('an absolute path through a linked folder', async () => {
    await commit(join(`${folder}-link`, 'top.vmdk'));
    expect(readdirSync(folder).sort()).toEqual(['base.vmdk', 'link', 'named.vmdk']);
  });

  test('a relative path from elsewhere', async () => {
    await commit(join('..', basename(folder), 'top.vmdk'));
    expect(readdirSync(folder).sort()).toEqual(['base.vmdk', 'link', 'named.vmdk']);
  });

  test('a link to it, which goes too', async () => {
    await commit('named.vmdk');
    expect(readdirSync(folder).sort()).toEqual(['base.vmdk', 'link']);
  });
});

test('a file with two extents of the child is removed once', async () => {
  const half = SIZE / 1024;
  writeFileSync(join(folder, 'both'), pattern(SIZE, 4));
  chain(child, [`RW ${half} FLAT "both" 0`, `RW ${half} FLAT "both" ${half}`], parent);
  const outcome = await vmdkfs('commit', child, '--delete');
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  expect(outcome.stdout).toMatch(/; the child is removed\n$/);
  expect(readdirSync(folder)).toEqual(['base.vmdk']);
  expect(readAll(parent).equals(pattern(SIZE, 4))).toBe(true);
});

describe.skipIf(isMissing('files that stay', 'root', 'unshare', 'setpriv'))(
  'where files cannot be removed, that is 4, and it says that everything is merged',
  () => {
    const EXTENTS = ['shut/a.vmdk', 'c.vmdk', 'shut/b.vmdk'];

    beforeEach(() => {
      mkdirSync(join(folder, 'shut'));
      const sectors = 128;
      for (const name of EXTENTS) {
        writeSparseFile(join(folder, name), { sectors, grainSectors: 8, tableEntries: 512 });
      }
      const lines = EXTENTS.map((name) => `RW ${sectors} SPARSE "${name}"`);
      chain(child, lines, parent);
      writeDisk(child, pattern(3 * GRAIN, 2), 0);
      for (const name of ['.', 'base.vmdk', 'top.vmdk', ...EXTENTS]) {
        chownSync(join(folder, name), NOBODY, NOBODY);
      }
    });

    async function failure(): Promise<string> {
      const outcome = await asNobody(process.execPath, CLI, 'commit', child, '--delete');
      expect(outcome).toMatchObject({ code: 4, stdout: '' });
      expect(outcome.stderr.trimEnd().split('\n')).toHaveLength(1);
      expect(
        readAll(parent)
          .subarray(0, 3 * GRAIN)
          .equals(pattern(3 * GRAIN, 2)),
      ).toBe(true);
      return outcome.stderr;
    }

    test('some extents: the others are removed, and these are named', async () => {
      const [first, , second] = EXTENTS.map((name) => join(folder, name));
      expect(await failure()).toBe(
        `vmdkfs: ${first!}: permission denied (and so ${second!}); ${parent} has everything that ${child} held; remove the files of the child that are left\n`,
      );
      expect(existsSync(child)).toBe(false);
      expect(EXTENTS.map((name) => existsSync(join(folder, name)))).toEqual([true, false, true]);
    });

    test('the image file: all of the child stays as it is', async () => {
      chmodSync(folder, 0o555);
      const content = readAll(child);
      expect(await failure()).toBe(
        `vmdkfs: ${child}: permission denied; ${parent} has everything that ${child} held; remove the files of the child that are left\n`,
      );
      expect(readAll(child).equals(content)).toBe(true);
    });
  },
);
