/**
 * The server is killed under ext4 in a loop device, again and again on the same image. After each
 * kill the next mount's disk has its journal replayed by e2fsck, is clean then, and holds every file
 * that was synced. VMDKFS_KILL_ROUNDS sets how often for each disk.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { serveInForeground, type Foreground } from '../helpers/foreground.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run } from '../helpers/run.js';
import { inspectSeSparseFile } from '../helpers/sesparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';
import { killWhileWriting } from './kill-while-writing.js';
import { hostedProblems } from './crash-disks.js';
import { Random } from './recorded-disk.js';

const ROUNDS = Number(process.env['VMDKFS_KILL_ROUNDS'] ?? 3);
const KILL_MIN = 20;
const KILL_MAX = 300;
const SIZE = 32 * 1024 * 1024;
const WRITER = fileURLToPath(new URL('file-writer.js', import.meta.url));

let kills = 0;
afterAll(() => {
  console.log(`${kills} kills survived with ext4 in a loop device`);
});

/** What must be in the folder: a file of each name, or of one of two names, with its hash. */
type Files = Map<string, { hash: string; otherName?: string }>;

/** Takes over one line of the writer. */
function note(files: Files, line: string): void {
  const [word, name = '', second = '', hash = ''] = line.split(' ');
  const file = files.get(name);
  if (word === 'kept') files.set(name, { hash });
  else if (word === 'gone') files.delete(name);
  else if (word === 'moving' && file !== undefined) file.otherName = second;
  else if (word === 'moved' && file !== undefined) {
    files.delete(name);
    files.set(second, { hash: file.hash });
  }
}

/** Puts the disk into a loop device and mounts it there. */
async function mountLoop(disk: string): Promise<{ folder: string; detach: () => Promise<void> }> {
  const folder = join(tempFolder(), 'ext4');
  mkdirSync(folder);
  const device = (await check('losetup', '-f', '--show', disk)).trim();
  let isAttached = true;
  const detach = async (): Promise<void> => {
    if (!isAttached) return;
    isAttached = false;
    const unmounted = await run('umount', [folder]);
    if (unmounted.code !== 0) await run('umount', ['-l', folder]);
    await check('losetup', '-d', device);
  };
  onTestFinished(detach);
  await check('mount', '-t', 'ext4', device, folder);
  return { folder, detach };
}

/** Checks what is there against what was synced, and makes room. */
function checkFiles(folder: string, files: Files): void {
  for (const [name, { hash, otherName = name }] of files) {
    const path = [name, otherName]
      .map((each) => join(folder, each))
      .find((each) => existsSync(each));
    if (path === undefined) throw new Error(`${name} was synced and is gone`);
    const found = createHash('md5').update(readFileSync(path)).digest('hex');
    if (found !== hash) throw new Error(`${name} holds something else than what was synced`);
  }
  for (const name of readdirSync(folder)) {
    if (name !== 'lost+found') rmSync(join(folder, name));
  }
  files.clear();
}

async function writeFilesUntilKilled(
  server: Foreground,
  folder: string,
  files: Files,
  wait: number,
): Promise<void> {
  await killWhileWriting(server, [WRITER, folder, 'file'], wait, (line) => {
    note(files, line);
    return !line.startsWith('failed');
  });
}

async function checkFileSystem(server: Foreground): Promise<void> {
  const repaired = await run('e2fsck', ['-fy', server.disk]);
  // 1: the journal was replayed, and what that always leaves was tidied up.
  expect(repaired.code, repaired.stdout + repaired.stderr + server.stderr).toBeLessThanOrEqual(1);
  expect(repaired.stdout).not.toMatch(/corrupt|bad |invalid|multiply|checksum/i);
  const clean = await run('e2fsck', ['-fn', server.disk]);
  expect(clean.code, clean.stdout + clean.stderr + server.stderr).toBe(0);
}

const KINDS = [
  {
    name: 'monolithicSparse',
    make: (folder: string) => {
      const image = join(folder, 'disk.vmdk');
      createImage(image, { size: SIZE, backing: undefined });
      return { image, problems: () => hostedProblems(image, [image]) };
    },
  },
  {
    name: 'seSparse',
    make: (folder: string) => {
      const image = join(folder, 'disk.vmdk');
      createImage(image, { size: SIZE, backing: undefined, subformat: 'seSparse' });
      const extent = join(folder, 'disk-sesparse.vmdk');
      return { image, problems: () => Promise.resolve(inspectSeSparseFile(extent).problems) };
    },
  },
];

const needs = isMissing('kill rounds with ext4', 'fuse', 'root', 'loop', 'ext4', 'qemu');
describe.skipIf(needs)('killed under ext4', () => {
  test.each(KINDS)('$name', { timeout: 900_000 }, async ({ make }) => {
    const { image, problems } = make(tempFolder());
    const random = new Random(7);
    const files: Files = new Map();
    for (let round = 0; round <= ROUNDS; round++) {
      const server = await serveInForeground(image);
      if (round === 0) await check('mkfs.ext4', '-q', '-J', 'size=4', server.disk);
      else await checkFileSystem(server);
      const loop = await mountLoop(server.disk);
      checkFiles(loop.folder, files);
      if (round === ROUNDS) {
        await loop.detach();
        server.child.kill('SIGTERM');
        expect(await server.ended).toBe(0);
        break;
      }
      const wait = KILL_MIN + random.below(KILL_MAX - KILL_MIN);
      await writeFilesUntilKilled(server, loop.folder, files, wait);
      kills += 1;
      await loop.detach();
      await until('the dead mount is gone', 5000, () => !isMountedAt(server.mountpoint));
      expect(await problems(), `round ${round}, killed after ${wait} ms`).toEqual([]);
    }
    expect(await problems()).toEqual([]);
  });
});
