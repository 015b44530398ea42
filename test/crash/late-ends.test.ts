/**
 * Mounts that are unmounted from outside, and what is mounted in their place at once, with the
 * numbers that they had: again and again, because it is a matter of moments who comes first.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { readMountTable } from '../../src/os/mount-table.js';
import { newImage } from '../helpers/images.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, shell, vmdkfs } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const ROUNDS = Number(process.env['VMDKFS_REMOUNT_ROUNDS'] ?? 10);
const LATE_MS = 60_000;
const LIMIT_MS = 60_000 + ROUNDS * 12_000;

/** An image and where it is mounted in each round. */
async function newPlace() {
  const image = await newImage('4M');
  const folder = tempFolder();
  const [mountpoint, pidFile] = [join(folder, 'mnt'), join(folder, 'pid')];
  mkdirSync(mountpoint);
  onTestFinished(async () => {
    for (let left = tableAt(mountpoint).length; left > 0; left--) {
      await run('umount', ['-l', mountpoint]);
    }
  });
  return { image, mountpoint, pidFile };
}

function tableAt(mountpoint: string): string[] {
  return readMountTable()
    .filter((entry) => entry.mountpoint === mountpoint)
    .map(({ source, type }) => `${source} ${type}`);
}

function processIn(pidFile: string): number {
  return Number(readFileSync(pidFile, 'utf8'));
}

/** Something to write when the image is closed. */
async function writeTo(mountpoint: string): Promise<void> {
  await shell('printf %s "$2" | dd of="$1/disk.raw" conv=notrunc status=none', mountpoint, 'bytes');
}

describe.skipIf(isMissing('late ends', 'fuse', 'root'))(`${ROUNDS} mounts`, () => {
  test(
    'unmounted from outside leave what is mounted in their place at once',
    async () => {
      const { image, mountpoint, pidFile } = await newPlace();
      for (let round = 0; round < ROUNDS; round++) {
        await check(process.execPath, CLI, 'mount', image, mountpoint, '--pid-file', pidFile);
        const server = processIn(pidFile);
        await writeTo(mountpoint);
        await shell('umount "$1" && mount -t tmpfs foreign "$1"', mountpoint);
        writeFileSync(join(mountpoint, 'file'), 'foreign');
        await until('the server has ended', LATE_MS, () => !existsSync(`/proc/${server}`));
        expect(tableAt(mountpoint), `round ${round}`).toEqual(['foreign tmpfs']);
        expect(readFileSync(join(mountpoint, 'file'), 'utf8')).toBe('foreign');
        await check('umount', mountpoint);
      }
    },
    LIMIT_MS,
  );

  test(
    'unmounted from outside leave the next mount of their image, and its socket',
    async () => {
      const { image, mountpoint, pidFile } = await newPlace();
      for (let round = 0; round < ROUNDS; round++) {
        await check(process.execPath, CLI, 'mount', image, mountpoint, '--pid-file', pidFile);
        const first = processIn(pidFile);
        await writeTo(mountpoint);
        // In use (6) as long as the first server closes it.
        const again = 'until "$2" "$3" mount "$4" "$1" 2>/dev/null; do test $? = 6; done';
        await shell(`umount "$1"; ${again}`, mountpoint, process.execPath, CLI, image);
        await until('the first server has ended', LATE_MS, () => !existsSync(`/proc/${first}`));
        expect(tableAt(mountpoint), `round ${round}`).toEqual([`${image} fuse.vmdkfs`]);
        const { code, stdout } = await vmdkfs('stats', '--json', mountpoint);
        expect([code, (JSON.parse(stdout) as { image: string }).image]).toEqual([0, image]);
        expect(await vmdkfs('unmount', mountpoint)).toEqual({ code: 0, stdout: '', stderr: '' });
        // It is closed: nobody has it locked, and nothing of it is open.
        openImage(image, { readOnly: false, lock: true }).device.close();
        expect(inspectSparseFile(image)).toMatchObject({ problems: [], uncleanShutdown: 0 });
      }
    },
    LIMIT_MS,
  );
});
