/** A host file system that is full: the writer is told, nothing breaks, and space brings it back. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { pattern } from '../helpers/made-disk.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, vmdkfs } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

describe.skipIf(isMissing('full disk', 'fuse', 'root', 'qemu'))('a full host disk', () => {
  test('gives ENOSPC to the writer and leaves an image that goes on when space is made', async () => {
    const folder = tempFolder();
    const host = join(folder, 'host');
    mkdirSync(host);
    await check('mount', '-t', 'tmpfs', '-o', 'size=8M', 'none', host);
    onTestFinished(async () => {
      await run('umount', ['-l', host]);
    });
    const image = join(host, 'disk.vmdk');
    const filler = join(host, 'filler');
    await vmdkfs('create', image, '--size', '64M');
    writeFileSync(filler, Buffer.alloc(3 * MIB));
    const source = join(folder, 'source');
    await check('dd', 'if=/dev/urandom', `of=${source}`, 'bs=1M', 'count=8', 'status=none');

    const { disk, unmount } = await mountImage(image);
    const synced = await run('dd', [
      `if=${source}`,
      `of=${disk}`,
      'bs=1M',
      'count=2',
      'conv=notrunc,fsync',
    ]);
    expect(synced.code).toBe(0);
    const full = await run('dd', [
      `if=${source}`,
      `of=${disk}`,
      'bs=1M',
      'seek=8',
      'conv=notrunc,fsync',
    ]);
    expect(full.code).toBe(1);
    expect(full.stderr).toMatch(/No space left on device/);
    await check('cmp', '-n', String(2 * MIB), source, disk);

    rmSync(filler);
    const more = await run('dd', [
      `if=${source}`,
      `of=${disk}`,
      'bs=1M',
      'count=1',
      'seek=32',
      'conv=notrunc,fsync',
    ]);
    expect(more.stderr).toMatch(/1048576 bytes/);
    expect(more.code).toBe(0);
    await unmount();
    expect(existsSync(image)).toBe(true);
    expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);
    expect(inspectSparseFile(image)).toMatchObject({ problems: [], uncleanShutdown: 0 });
    const again = await mountImage(image, '-o', 'ro');
    await check('cmp', '-n', String(2 * MIB), source, again.disk);
    await check('cmp', '-n', String(MIB), '-i', `0:${32 * MIB}`, source, again.disk);
    await again.unmount();
  });
});

/** A tmpfs of so many MiB. */
async function smallTmpfs(mib: number): Promise<string> {
  const host = join(tempFolder(), 'host');
  mkdirSync(host);
  await check('mount', '-t', 'tmpfs', '-o', `size=${mib}M`, 'none', host);
  onTestFinished(async () => {
    await run('umount', ['-l', host]);
  });
  return host;
}

/** Writes 1 MiB at each of `count` places of a disk that is full; all of them are refused. */
async function writeRefused(disk: string, count: number, from: number): Promise<void> {
  const handle = await open(disk, 'r+');
  try {
    for (let index = 0; index < count; index++) {
      const write = handle.write(pattern(MIB, index), 0, MIB, (from + index) * MIB);
      await expect(write).rejects.toMatchObject({ code: 'ENOSPC' });
    }
  } finally {
    await handle.close();
  }
}

const isWithoutTmpfs = isMissing('writes that a full host refuses', 'fuse', 'root');
describe.skipIf(isWithoutTmpfs)('writes that a full host refuses', () => {
  test.each(['monolithicSparse', 'vmfsSparse', 'seSparse'])(
    'leave a file of %s no longer than before, and are told at the end',
    async (subformat) => {
      const host = await smallTmpfs(12);
      const image = join(host, 'disk.vmdk');
      const created = await vmdkfs('create', image, '--size', '1G', '--subformat', subformat);
      expect(created).toMatchObject({ code: 0 });
      const extent = readdirSync(host).find((name) => name.endsWith('sparse.vmdk'));
      const file = extent === undefined ? image : join(host, extent);
      const { disk, mountpoint } = await mountImage(image);
      await check('dd', 'if=/dev/urandom', `of=${disk}`, 'bs=1M', 'count=1', 'conv=notrunc,fsync');
      const before = statSync(file).size;
      // Room for a part of the first write.
      const { bavail, bsize } = statfsSync(host);
      writeFileSync(join(host, 'filler'), Buffer.alloc(bavail * bsize - MIB / 2));
      await writeRefused(disk, 100, 8);
      const unmounted = await vmdkfs('unmount', mountpoint);
      expect(unmounted.stderr).toMatch(
        /disk\.vmdk: 100 writes failed while it was mounted, so files inside may be damaged/,
      );
      expect(unmounted.code).toBe(0);
      expect(statSync(file).size).toBeLessThanOrEqual(before);
      // One run of addresses is used again and again, and nothing of what was refused shows there.
      const again = await mountImage(image);
      await writeRefused(again.disk, 50, 8);
      rmSync(join(host, 'filler'));
      const handle = await open(again.disk, 'r+');
      onTestFinished(() => handle.close().catch(() => undefined));
      await handle.write(pattern(512, 7), 0, 512, 16 * MIB + 512);
      await handle.datasync();
      expect(statSync(file).size - before).toBeLessThan(2 * MIB);
      const { buffer } = await handle.read(Buffer.alloc(MIB), 0, MIB, 16 * MIB);
      await handle.close();
      const expected = Buffer.alloc(MIB);
      pattern(512, 7).copy(expected, 512);
      expect(buffer.equals(expected)).toBe(true);
      await again.unmount();
      expect(await vmdkfs('check', image)).toMatchObject({ code: 0, stderr: '' });
    },
  );

  test('are nothing to be told of a snapshot, which is thrown away', async () => {
    const host = await smallTmpfs(4);
    const image = join(tempFolder(), 'disk.vmdk');
    await vmdkfs('create', image, '--size', '64M');
    const usual = process.env['TMPDIR'];
    process.env['TMPDIR'] = host;
    onTestFinished(() => {
      if (usual === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = usual;
    });
    const { disk, mountpoint } = await mountImage(image, '--snapshot');
    writeFileSync(join(host, 'filler'), Buffer.alloc(3 * MIB));
    await writeRefused(disk, 2, 8);
    const { code, stderr } = await vmdkfs('unmount', mountpoint);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

/** How much is copied onto a small ext4 that is full; more where storage is tested alone. */
const COPY_MIB = Number(process.env['VMDKFS_FULL_DISK_MIB'] ?? 96);

/** The data of one MiB of the copy. */
const pieceOf = (index: number): Buffer => pattern(MIB, index);

const needs = isMissing('a full ext4', 'fuse', 'root', 'loop', 'ext4', 'qemu');
describe.skipIf(needs)('an ext4 with room for half of a copy', () => {
  /** An ext4 of so many MiB on a loop device of the test's own. */
  async function smallExt4(mib: number): Promise<string> {
    const folder = tempFolder();
    const [file, host] = [join(folder, 'ext4'), join(folder, 'host')];
    mkdirSync(host);
    await check('truncate', '-s', `${mib}M`, file);
    await check('mkfs.ext4', '-q', '-m', '0', '-E', 'lazy_itable_init=0', file);
    await check('mount', '-o', 'loop', file, host);
    onTestFinished(async () => {
      const unmounted = await run('umount', [host]);
      if (unmounted.code !== 0) await run('umount', ['-l', host]);
    });
    return host;
  }

  test(`copies ${COPY_MIB} MiB, ends with ENOSPC, and goes on when there is space`, async () => {
    // Its journal and its inodes take a share of it.
    const host = await smallExt4(COPY_MIB + COPY_MIB / 8 + 64);
    const filler = join(host, 'filler');
    const { bavail, bsize } = statfsSync(host);
    const room = Math.floor((bavail * bsize) / MIB);
    await check('fallocate', '-l', `${room - COPY_MIB / 2}M`, filler);
    const image = join(host, 'disk.vmdk');
    expect((await vmdkfs('create', image, '--size', `${COPY_MIB + 64}M`)).code).toBe(0);
    const { disk, unmount } = await mountImage(image);
    const handle = await open(disk, 'r+');
    onTestFinished(() => handle.close().catch(() => undefined));
    let synced = 0;
    let isFull = false;
    let attempts = 0;
    for (let index = 0; index < COPY_MIB; index++) {
      try {
        await handle.write(pieceOf(index), 0, MIB, index * MIB);
        if (index % 16 !== 15) continue;
        await handle.datasync();
        synced = index + 1;
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
        if (!isFull) {
          console.log(`${COPY_MIB} MiB onto a full ext4: ENOSPC with ${synced} MiB synced`);
          expect(synced).toBeGreaterThan(COPY_MIB / 4);
          expect(inspectSparseFile(image).problems).toEqual([]);
          rmSync(filler);
        }
        isFull = true;
        attempts += 1;
        expect(attempts, 'attempts after space was made').toBeLessThan(100);
        // From what was synced on, again.
        index = synced - 1;
      }
    }
    await handle.datasync();
    expect(isFull).toBe(true);
    await handle.close();
    await unmount();
    expect(inspectSparseFile(image)).toMatchObject({ problems: [], uncleanShutdown: 0 });
    expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);
    expect((await vmdkfs('check', image)).code).toBe(0);
    const again = await mountImage(image, '-o', 'ro');
    const reader = await open(again.disk, 'r');
    onTestFinished(() => reader.close().catch(() => undefined));
    const found = Buffer.alloc(MIB);
    for (let index = 0; index < COPY_MIB; index++) {
      await reader.read(found, 0, MIB, index * MIB);
      expect(found.equals(pieceOf(index)), `MiB ${index}`).toBe(true);
    }
    await reader.close();
    await again.unmount();
  }, 600_000);
});
