/** Storage that hangs, has a limit, or is full: how a mount over it ends, and how it goes on. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { CRASH_DISKS, hostedProblems, type CrashDisk } from '../crash/crash-disks.js';
import { pattern } from '../helpers/made-disk.js';
import { FaultyStorage } from '../helpers/faulty-storage.js';
import { serveInForeground, type Foreground } from '../helpers/foreground.js';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, vmdkfs, type Outcome } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until, within } from '../helpers/until.js';

const MIB = 1024 * 1024;

/** Time enough for what happens at once. */
const SOON_MS = 1000;

const SYNCED = pattern(70_000, 3);
const SYNCED_AT = 12_345;

/** Time for what takes a moment, on a machine that is busy. */
const LATE_MS = 120_000;

/** Writes to a disk for each line of its stdin, says so, and closes it when that ends. */
const WRITER = `
const fs = require('node:fs');
const fd = fs.openSync(process.argv[1], 'r+');
process.stdin.on('data', () => {
  fs.writeSync(fd, Buffer.alloc(${SYNCED.length}, 9), 0, ${SYNCED.length}, ${MIB});
  console.log('written');
});
// Nobody answers any more where the server left.
process.stdin.on('end', () => fs.close(fd, () => undefined)).resume();
`;

/**
 * The disk is held by another process: a copy of its descriptor that one of ours inherits would be
 * closed, which flushes, when it starts its program, and over storage that hangs it would hang there,
 * together with whoever waits for it or looks at it in /proc.
 */
function startWriter(disk: string): ChildProcess {
  const stdio = ['pipe', 'pipe', 'inherit'] as const;
  const writer = spawn(process.execPath, ['-e', WRITER, disk], { stdio: [...stdio] });
  onTestFinished(() => {
    writer.kill('SIGKILL');
  });
  return writer;
}

/** Lets the writer write until the storage hangs before that was flushed, which a timer does too. */
async function hangBehind(writer: ChildProcess, storage: FaultyStorage): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    const written = once(writer.stdout!, 'data');
    writer.stdin!.write('write\n');
    await within('the writer has written', LATE_MS, written);
    if (await storage.hangUnsynced()) return;
  }
  throw new Error('every write was flushed before the storage hung');
}

/** A server whose storage hangs: something is synced, something more was received. */
async function hanging(): Promise<{
  storage: FaultyStorage;
  made: CrashDisk;
  server: Foreground;
  writer: ChildProcess;
}> {
  const [kind] = CRASH_DISKS;
  const storage = new FaultyStorage();
  const made = kind!.make(storage.store);
  await storage.serve();
  const server = await serveInForeground(join(storage.folder, basename(made.image)));
  const handle = await open(server.disk, 'r+');
  await handle.write(SYNCED, 0, SYNCED.length, SYNCED_AT);
  await handle.datasync();
  await handle.close();
  const writer = startWriter(server.disk);
  await hangBehind(writer, storage);
  writer.stdin?.end();
  return { storage, made, server, writer };
}

function ended(what: string, server: Foreground): Promise<number | string> {
  return within(`${what} has ended`, LATE_MS, server.ended);
}

async function detached({ mountpoint }: Foreground): Promise<void> {
  await until('the mount is gone', LATE_MS, () => !isMountedAt(mountpoint));
}

async function expectSynced(made: CrashDisk): Promise<void> {
  expect(await made.problems()).toEqual([]);
  const { device } = openImage(made.image, { readOnly: true });
  const found = Buffer.alloc(SYNCED.length);
  device.read(found, 0, found.length, SYNCED_AT);
  device.close();
  expect(found.equals(SYNCED)).toBe(true);
}

describe.skipIf(isMissing('hanging storage', 'fuse', 'qemu'))('storage that hangs', () => {
  test('lets SIGTERM wait, and ends cleanly when it goes on', async () => {
    const { made, server, storage } = await hanging();
    server.child.kill('SIGTERM');
    await detached(server);
    await sleep(SOON_MS);
    expect(server.isRunning).toBe(true);
    storage.goOn();
    expect(await ended('the server', server)).toBe(0);
    await expectSynced(made);
  });

  test('does not keep a second signal from ending the server, nor a third', async () => {
    const [two, three] = await Promise.all([hanging(), hanging()]);
    for (const { server } of [two, three]) {
      server.child.kill('SIGTERM');
      await detached(server);
      server.child.kill('SIGTERM');
    }
    await sleep(SOON_MS);
    expect([two.server.isRunning, three.server.isRunning]).toEqual([true, true]);
    three.server.child.kill('SIGTERM');
    expect(await ended('the server with three signals', three.server)).toBe(3);
    expect(three.server.stderr).toMatch(/leaving at once/);
    expect(await ended('the server with two signals', two.server)).toBe(3);
    expect(two.server.stderr).toMatch(/the storage does not answer/);
    for (const { made, storage } of [two, three]) {
      storage.goOn();
      await expectSynced(made);
    }
  });

  test('lets vmdkfs unmount wait until the image is closed', async () => {
    const { made, server, storage, writer } = await hanging();
    const unmount = (): Promise<Outcome> =>
      within('vmdkfs unmount ends', LATE_MS, vmdkfs('unmount', server.mountpoint));
    const busy = await unmount();
    expect(busy).toMatchObject({ code: 3, stderr: expect.stringMatching(/busy/) as string });
    storage.goOn();
    await until('the writer is gone', LATE_MS, () => writer.exitCode !== null);
    await storage.hang();
    let isDone = false;
    const unmounting = unmount().finally(() => (isDone = true));
    await detached(server);
    await sleep(SOON_MS);
    expect(isDone).toBe(false);
    // Also then signals are heard; the first has nothing to do.
    server.child.kill('SIGTERM');
    await sleep(SOON_MS);
    expect(server.stderr).toBe('');
    server.child.kill('SIGTERM');
    await until('it is heard', LATE_MS, () => server.stderr.includes('SIGTERM again'));
    storage.goOn();
    expect(await unmounting).toMatchObject({ code: 0 });
    await ended('the server', server);
    await expectSynced(made);
  });
});

describe.skipIf(isMissing('a limit of file size', 'fuse', 'prlimit', 'qemu'))(
  'RLIMIT_FSIZE',
  () => {
    test('gives EFBIG to the writer, and the server goes on', async () => {
      const image = join(tempFolder(), 'disk.vmdk');
      createImage(image, { size: 64 * MIB, backing: undefined });
      const prefix = ['prlimit', `--fsize=${4 * MIB}:unlimited`, '--'];
      const server = await serveInForeground(image, [], prefix);
      const handle = await open(server.disk, 'r+');
      const bytes = pattern(MIB, 1);
      const write = (at: number) => handle.write(bytes, 0, MIB, at);
      await write(0);
      await handle.datasync();
      await expect(
        (async () => {
          for (let at = 8 * MIB; at < 16 * MIB; at += MIB) await write(at);
        })(),
      ).rejects.toMatchObject({ code: 'EFBIG' });
      await handle.datasync();
      await check('prlimit', '--pid', String(server.child.pid), '--fsize=unlimited:unlimited');
      await write(32 * MIB);
      await handle.datasync();
      await handle.close();
      server.child.kill('SIGTERM');
      expect(await ended('the server', server)).toBe(0);
      expect(await hostedProblems(image, [image])).toEqual([]);
      const again = await serveInForeground(image, ['-o', 'ro']);
      const reader = await open(again.disk, 'r');
      for (const at of [0, 32 * MIB]) {
        const { buffer } = await reader.read(Buffer.alloc(MIB), 0, MIB, at);
        expect(buffer.equals(bytes)).toBe(true);
      }
      await reader.close();
    });
  },
);

const needs = isMissing('a full ext4', 'fuse', 'root', 'loop', 'ext4', 'qemu');
describe.skipIf(needs)('an ext4 that is full', () => {
  /** A small ext4 of the test's own. */
  async function smallExt4(): Promise<string> {
    const folder = tempFolder();
    const [file, host] = [join(folder, 'ext4'), join(folder, 'host')];
    mkdirSync(host);
    await check('truncate', '-s', '64M', file);
    await check('mkfs.ext4', '-q', '-m', '0', file);
    await check('mount', '-o', 'loop', file, host);
    onTestFinished(async () => {
      const unmounted = await run('umount', [host]);
      if (unmounted.code !== 0) await run('umount', ['-l', host]);
    });
    return host;
  }

  test('stops a copy of 200 MiB, and no synced byte is lost when there is space', async () => {
    const host = await smallExt4();
    const image = join(host, 'disk.vmdk');
    createImage(image, { size: 256 * MIB, backing: undefined });
    const filler = join(host, 'filler');
    await check('dd', 'if=/dev/urandom', `of=${filler}`, 'bs=1M', 'count=30', 'status=none');
    const server = await serveInForeground(image);
    const handle = await open(server.disk, 'r+');
    const synced: number[] = [];
    const piece = (at: number): Buffer => pattern(MIB, at / MIB);
    const copy = async (): Promise<void> => {
      for (let at = 0; at < 200 * MIB; at += MIB) {
        await handle.write(piece(at), 0, MIB, at);
        if ((at / MIB) % 4 !== 3) continue;
        await handle.datasync();
        for (let done = at - 3 * MIB; done <= at; done += MIB) synced.push(done);
      }
    };
    await expect(copy()).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(synced.length).toBeGreaterThan(15);
    expect(inspectSparseFile(image).problems).toEqual([]);
    rmSync(filler);
    const late = 220 * MIB;
    await handle.write(piece(late), 0, MIB, late);
    await handle.datasync();
    await handle.close();
    server.child.kill('SIGTERM');
    expect(await ended('the server', server)).toBe(0);
    expect(await hostedProblems(image, [image])).toEqual([]);
    const { device } = openImage(image, { readOnly: true });
    const found = Buffer.alloc(MIB);
    for (const at of [...synced, late]) {
      device.read(found, 0, MIB, at);
      expect(found.equals(piece(at)), `MiB ${at / MIB}`).toBe(true);
    }
    device.close();
  });
});
