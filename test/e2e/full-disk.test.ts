/** A host file system that is full: the writer is told, nothing breaks, and space brings it back. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
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
