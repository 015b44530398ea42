/**
 * Servers that end late: what stands in their place by then, and what has their numbers, belongs to
 * somebody else. A server that is stopped while it is unmounted ends as late as a test likes.
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { readMountTable, type MountEntry } from '../../src/os/mount-table.js';
import { serveInForeground, type Foreground } from '../helpers/foreground.js';
import { newImage } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, vmdkfs } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until, within } from '../helpers/until.js';

const LATE_MS = 90_000;

vi.setConfig({ testTimeout: 240_000 });

/** A moment in which something wrong would happen. */
const MOMENT_MS = 300;

function entriesAt(mountpoint: string): MountEntry[] {
  return readMountTable().filter((entry) => entry.mountpoint === mountpoint);
}

/** Mounts a tmpfs for the running test. */
async function mountTmpfs(mountpoint: string): Promise<MountEntry> {
  await check('mount', '-t', 'tmpfs', 'foreign', mountpoint);
  onTestFinished(async () => {
    for (const { type } of entriesAt(mountpoint)) {
      if (type === 'tmpfs') await run('umount', ['-l', mountpoint]);
    }
  });
  writeFileSync(join(mountpoint, 'file'), 'foreign');
  const entry = entriesAt(mountpoint).at(-1);
  expect(entry).toMatchObject({ type: 'tmpfs', source: 'foreign' });
  return entry!;
}

/** Stops a process; it goes on at the end of the test at the latest. */
function stop(pid: number): void {
  process.kill(pid, 'SIGSTOP');
  onTestFinished(() => {
    goOn(pid);
  });
}

function goOn(pid: number): void {
  if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGCONT');
}

/** A server in the foreground that is ready: it has looked at its mount. */
async function serveReady(image: string, ...args: readonly string[]): Promise<Foreground> {
  const file = join(tempFolder(), 'pid');
  const server = await serveInForeground(image, ['--pid-file', file, ...args]);
  await until('it is ready', LATE_MS, () => existsSync(file));
  return server;
}

/** Unmounts as umount(8) does, but asks nothing of a server that is stopped. */
async function unmountFromOutside(mountpoint: string): Promise<void> {
  await check('fusermount3', '-u', '--', mountpoint);
}

async function gone(pid: number): Promise<void> {
  await until('the server has ended', LATE_MS, () => !existsSync(`/proc/${pid}`));
}

/**
 * Takes the socket of the server `pid` away, as if it were not there yet, and leaves that of a killed
 * server whose mount had the same device number.
 *
 * @returns what brings the other one back
 */
async function leaveDeadSocket(mountpoint: string, pid: number): Promise<() => void> {
  const folder = '/run/vmdkfs';
  const name = readdirSync(folder).find((each) => each.endsWith(`.${pid}.sock`)) ?? '';
  const away = join(folder, `${name}.away`);
  const device = entriesAt(mountpoint)[0]?.device.replace(':', '-') ?? '';
  const dead = join(folder, `${device}.1.1.sock`);
  const script = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  await run(process.execPath, ['-e', script, dead]);
  onTestFinished(() => {
    for (const path of [dead, away]) rmSync(path, { force: true });
  });
  renameSync(join(folder, name), away);
  return () => {
    renameSync(away, join(folder, name));
  };
}

const needs = isMissing('mounts of others', 'fuse', 'root');

describe.skipIf(needs)('a server that ends late', () => {
  test.each(['kernel', 'libfuse'])(
    'over %s leaves what was mounted in its place, with its numbers',
    async (transport) => {
      const image = await newImage('4M');
      const server = await serveReady(image, '--transport', transport);
      const pid = server.child.pid ?? 0;
      stop(pid);
      await unmountFromOutside(server.mountpoint);
      // It gets the numbers of the mount that is gone, if nobody else mounts just then.
      const foreign = await mountTmpfs(server.mountpoint);
      goOn(pid);
      expect(await within('the server has ended', LATE_MS, server.ended)).toBe(0);
      expect(entriesAt(server.mountpoint)).toEqual([foreign]);
      expect(server.stderr).toBe('');
      expect(inspectSparseFile(image)).toMatchObject({ uncleanShutdown: 0 });
    },
  );

  test('leaves the next mount of an image in its place, its socket and its last words', async () => {
    const first = await mountImage(await newImage('4M'));
    stop(first.pid);
    await unmountFromOutside(first.mountpoint);
    const image = await newImage('8M');
    expect(await vmdkfs('mount', image, first.mountpoint)).toMatchObject({ code: 0, stderr: '' });
    const [next] = entriesAt(first.mountpoint);
    expect(next?.source).toBe(image);
    goOn(first.pid);
    await gone(first.pid);
    expect(entriesAt(first.mountpoint)).toEqual([next]);
    const { code, stdout } = await vmdkfs('stats', '--json', first.mountpoint);
    expect([code, (JSON.parse(stdout) as { image: string }).image]).toEqual([0, image]);
    const server = (JSON.parse(stdout) as { pid: number }).pid;
    const list = await vmdkfs('list', '--json');
    expect(JSON.parse(list.stdout)).toMatchObject({
      mounts: expect.arrayContaining([
        expect.objectContaining({ mountpoint: first.mountpoint, state: 'mounted', pid: server }),
      ]) as unknown,
    });
    process.kill(server, 'SIGKILL');
    await gone(server);
    // What was kept of it is still there to be read.
    expect((await vmdkfs('unmount', first.mountpoint)).stderr).toMatch(/; it was killed\n$/);
  });

  test('unmount waits for the image of the mount that has the numbers of an earlier one', async () => {
    const first = await mountImage(await newImage('4M'));
    stop(first.pid);
    await unmountFromOutside(first.mountpoint);
    const image = await newImage('8M');
    expect(await vmdkfs('mount', image, first.mountpoint)).toMatchObject({ code: 0 });
    const { stdout } = await vmdkfs('stats', '--json', first.mountpoint);
    const server = (JSON.parse(stdout) as { pid: number }).pid;
    goOn(first.pid);
    await gone(first.pid);
    stop(server);
    let isDone = false;
    const unmounting = vmdkfs('unmount', first.mountpoint).finally(() => (isDone = true));
    await until('it is unmounted', LATE_MS, () => !isMountedAt(first.mountpoint));
    await sleep(MOMENT_MS);
    expect(isDone).toBe(false);
    goOn(server);
    expect(await unmounting).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('and was detached leaves what is there now, on SIGTERM and at its end', async () => {
    const first = await mountImage(await newImage('4M'));
    const handle = await open(first.disk, 'r+');
    expect((await vmdkfs('unmount', '--lazy', first.mountpoint)).code).toBe(0);
    const image = await newImage('8M');
    expect(await vmdkfs('mount', image, first.mountpoint)).toMatchObject({ code: 0, stderr: '' });
    const before = entriesAt(first.mountpoint);
    process.kill(first.pid, 'SIGTERM');
    await handle.write(Buffer.alloc(4096, 1), 0, 4096, 0);
    await handle.sync();
    await sleep(MOMENT_MS);
    expect(entriesAt(first.mountpoint)).toEqual(before);
    await handle.close();
    await gone(first.pid);
    expect(entriesAt(first.mountpoint)).toEqual(before);
    const { code, stdout } = await vmdkfs('stats', '--json', first.mountpoint);
    expect(code).toBe(0);
    process.kill((JSON.parse(stdout) as { pid: number }).pid, 'SIGKILL');
    expect(await vmdkfs('unmount', first.mountpoint)).toMatchObject({
      code: expect.not.toSatisfy((each) => each === 0) as number,
      stderr: expect.stringMatching(/it was killed\n$/) as string,
    });
  });

  test('with something mounted over it touches neither, and serves on', async () => {
    const server = await serveReady(await newImage('4M'));
    const handle = await open(server.disk);
    const foreign = await mountTmpfs(server.mountpoint);
    server.child.kill('SIGTERM');
    await until('it says why', LATE_MS, () => server.stderr !== '');
    expect(server.stderr).toBe(
      `vmdkfs: ${server.mountpoint}: foreign (tmpfs) is mounted over it; unmount that first\n`,
    );
    expect(entriesAt(server.mountpoint).at(-1)).toEqual(foreign);
    await handle.read(Buffer.alloc(512), 0, 512, 0);
    await handle.close();
    await check('umount', server.mountpoint);
    await check('umount', server.mountpoint);
    expect(await within('the server has ended', LATE_MS, server.ended)).toBe(0);
  });
});

describe.skipIf(needs)('vmdkfs unmount', () => {
  test('does not say that it is done where it cannot ask the server', async () => {
    const { mountpoint, pid } = await mountImage(await newImage('4M'));
    const [entry] = entriesAt(mountpoint);
    const device = entry?.device.replace(':', '-') ?? '';
    const names = readdirSync('/run/vmdkfs').filter((name) => name.endsWith(`.${pid}.sock`));
    expect(names).toEqual([
      expect.stringMatching(new RegExp(`^${device}\\.\\d+\\.${pid}\\.sock$`)),
    ]);
    await check('rm', join('/run/vmdkfs', names[0] ?? ''));
    const { code, stderr } = await vmdkfs('unmount', mountpoint);
    expect(code).toBe(4);
    expect(stderr).toMatch(
      /is unmounted, but its server has no control socket: the image may still/,
    );
    expect(isMountedAt(mountpoint)).toBe(false);
    await gone(pid);
  });

  test('does not take a server for dead because an earlier one was killed', async () => {
    const { mountpoint, pid } = await mountImage(await newImage('4M'));
    await leaveDeadSocket(mountpoint, pid);
    const { code, stderr } = await vmdkfs('unmount', mountpoint);
    expect([code, stderr]).toEqual([4, expect.stringMatching(/its server has no control socket/)]);
    await gone(pid);
  });
});

describe.skipIf(needs)('the next mount in its place', () => {
  test('leaves one that lives and has no socket, where an earlier server was killed', async () => {
    const { disk, mountpoint, pid } = await mountImage(await newImage('4M'));
    const listening = await leaveDeadSocket(mountpoint, pid);
    const { code, stderr } = await vmdkfs('mount', await newImage('8M'), mountpoint);
    expect([code, stderr]).toEqual([3, expect.stringMatching(/: is busy, .* is mounted there/)]);
    expect(statSync(disk).size).toBe(4 * 1024 ** 2);
    listening();
    expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
  });
});
