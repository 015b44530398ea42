/**
 * The server of a snapshot or an overlay is killed at random moments, while it is written to and while
 * it starts. Of a snapshot nothing is left, and the image is always what it was.
 * VMDKFS_KILL_ROUNDS sets how often.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { serveInForeground } from '../helpers/foreground.js';
import { hashes } from '../helpers/hashes.js';
import { pattern } from '../helpers/made-disk.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';
import { killWhileWriting } from './kill-while-writing.js';
import { newBank, planLane, Random } from './recorded-disk.js';

const ROUNDS = Number(process.env['VMDKFS_KILL_ROUNDS'] ?? 3);
const KILL_MIN = 50;
const KILL_MAX = 300;

/** Milliseconds in which a server has surely got to mounting, on a machine at rest. */
const START_MAX = 700;

/** Milliseconds in which an overlay that has its name is surely done and mounted. */
const MAKE_MAX = 100;

/** Exit code of a mount of what is in use. */
const IN_USE = 6;

const SIZE = 4 * 1024 * 1024;
const WRITER = fileURLToPath(new URL('record-writer.js', import.meta.url));
const LIBC = new URL('../../dist/os/libc.js', import.meta.url).href;

let kills = 0;
afterAll(() => {
  console.log(`${kills} kills of snapshots and overlays survived`);
});

/** A child over a base, both with data, and an empty folder for temporary files. */
function makeImage(): { files: string[]; image: string; content: Buffer; temporary: string } {
  const folder = tempFolder();
  const [base, image] = [join(folder, 'base.vmdk'), join(folder, 'disk.vmdk')];
  const content = Buffer.alloc(SIZE);
  const fill = (path: string, bytes: Buffer, at: number): void => {
    const { device } = openImage(path, { readOnly: false });
    device.write(bytes, 0, bytes.length, at);
    device.close();
    bytes.copy(content, at);
  };
  createImage(base, { size: SIZE, backing: undefined });
  fill(base, pattern(SIZE / 2, 1), 1000);
  createImage(image, { size: undefined, backing: base });
  fill(image, pattern(200_000, 2), SIZE / 4 + 1);
  const temporary = join(folder, 'tmp');
  mkdirSync(temporary);
  return { files: [base, image], image, content, temporary };
}

/** An empty folder on which nothing is mounted any more when the test has finished. */
function newMountpoint(): string {
  const mountpoint = join(tempFolder(), 'mnt');
  mkdirSync(mountpoint);
  onTestFinished(async () => {
    if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
  });
  return mountpoint;
}

/** Mounts; a helper that a killed server was about to start may hold its locks a moment longer. */
async function mountWhenFree(...args: readonly string[]): Promise<Outcome> {
  const end = performance.now() + 20_000;
  for (;;) {
    const outcome = await vmdkfs('mount', ...args);
    if (outcome.code !== IN_USE || performance.now() > end) return outcome;
  }
}

describe.skipIf(isMissing('kills of snapshots', 'fuse'))('killed', () => {
  test('a snapshot that is written to leaves nothing', { timeout: 600_000 }, async () => {
    const { content, files, image, temporary } = makeImage();
    const before = hashes(files);
    const random = new Random(11);
    const bank = newBank(11);
    const [planFile, bankFile] = ['plan', 'bank'].map((name) => join(temporary, '..', name)) as [
      string,
      string,
    ];
    writeFileSync(bankFile, bank);
    for (let round = 0; round < ROUNDS; round++) {
      const prefix = ['env', `TMPDIR=${temporary}`];
      const server = await serveInForeground(image, ['--snapshot'], prefix);
      expect((await readFile(server.disk)).equals(content)).toBe(true);
      const lane = planLane(random, 0, SIZE, { count: 3000, holes: true });
      writeFileSync(planFile, JSON.stringify([lane]));
      const wait = KILL_MIN + random.below(KILL_MAX - KILL_MIN);
      const args = [WRITER, server.disk, planFile, bankFile, LIBC];
      await killWhileWriting(server, args, wait, (line) => /^(?:begin|synced) /.test(line));
      kills += 1;
      await until('the dead mount is gone', 20_000, () => !isMountedAt(server.mountpoint));
      expect(readdirSync(temporary)).toEqual([]);
      expect(hashes(files)).toEqual(before);
    }
  });

  test(
    'a server that starts leaves the image, and no part of a snapshot',
    { timeout: 600_000 },
    async () => {
      const { files, image, temporary } = makeImage();
      const before = hashes(files);
      const random = new Random(12);
      const overlay = join(temporary, '..', 'overlay.vmdk');
      for (let round = 0; round < 2 * ROUNDS; round++) {
        const args = round % 2 === 0 ? ['--snapshot'] : ['--overlay', overlay];
        const mountpoint = newMountpoint();
        const server = spawn(process.execPath, [CLI, 'mount', '-f', image, mountpoint, ...args], {
          stdio: 'ignore',
          env: { ...process.env, TMPDIR: temporary },
        });
        const ended = once(server, 'exit');
        if (round % 4 === 3) {
          await until('the overlay is made', 60_000, () => existsSync(overlay));
          await sleep(random.below(MAKE_MAX));
        } else {
          await sleep(random.below(START_MAX));
        }
        server.kill('SIGKILL');
        await ended;
        kills += 1;
        expect(readdirSync(temporary)).toEqual([]);
        expect(hashes(files)).toEqual(before);
        if (!existsSync(overlay)) continue;
        // Whole, or refused because it is not.
        const next = newMountpoint();
        const { code, stderr } = await mountWhenFree(image, next, '--overlay', overlay);
        expect([0, 2], stderr).toContain(code);
        if (code === 0) expect(await vmdkfs('unmount', next)).toMatchObject({ code: 0 });
        expect(hashes(files)).toEqual(before);
        rmSync(overlay);
      }
    },
  );
});
