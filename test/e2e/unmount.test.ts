/** `vmdkfs unmount`: busy, lazy, loop devices, and servers that have died. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { newImage } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, shell, vmdkfs, type Outcome } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const SOON_MS = 90_000;

// At the lowest priority on a busy machine a single command takes many seconds.
vi.setConfig({ testTimeout: 240_000 });

const DONE: Outcome = { code: 0, stdout: '', stderr: '' };

describe.skipIf(isMissing('unmount', 'fuse'))('unmount', () => {
  test('--lazy waits for the image where nobody uses the mount', async () => {
    const image = await newImage('16M');
    const { mountpoint } = await mountImage(image);
    expect(await vmdkfs('unmount', '--lazy', mountpoint)).toEqual(DONE);
    expect(isMountedAt(mountpoint)).toBe(false);
  });

  test('--lazy detaches a busy mount and says who is served still', async () => {
    const image = await newImage('16M');
    const { disk, mountpoint, pid } = await mountImage(image);
    const handle = await open(disk, 'r+');
    const line = `vmdkfs: ${mountpoint}: detached; served until its last user is gone: `;
    const outcome = await vmdkfs('umount', '-l', mountpoint);
    expect(outcome).toMatchObject({ code: 0, stdout: '' });
    expect(outcome.stderr.startsWith(line)).toBe(true);
    expect(outcome.stderr).toMatch(new RegExp(`[(]pid ${process.pid}[)]\n$`));
    expect(isMountedAt(mountpoint)).toBe(false);
    await handle.write(Buffer.alloc(65536, 7), 0, 65536, 0);
    await handle.close();
    await until('the image is closed', SOON_MS, () => !existsSync(`/proc/${pid}`));
    const { entries, uncleanShutdown } = inspectSparseFile(image);
    expect(uncleanShutdown).toBe(0);
    expect(entries.filter((entry) => entry > 1)).toHaveLength(1);
  });

  test('names who keeps a mount busy by the program', async () => {
    const image = await newImage('16M');
    const { disk, mountpoint } = await mountImage(image);
    const script = `fs.openSync(process.argv[1]); console.log('open'); setInterval(() => {}, 1e6)`;
    const holder = spawn(process.execPath, ['-e', script, disk]);
    onTestFinished(() => {
      holder.kill('SIGKILL');
    });
    await once(holder.stdout, 'data');
    const { code, stderr } = await vmdkfs('unmount', mountpoint);
    expect(code).toBe(3);
    expect(stderr).toContain(`; in use by ${basename(process.execPath)} (pid ${holder.pid})`);
  });

  test('--quiet prints errors only', async () => {
    const image = await newImage('16M');
    const { disk, mountpoint, pid } = await mountImage(image);
    const handle = await open(disk);
    const busy = await vmdkfs('unmount', '-q', mountpoint);
    expect(busy).toMatchObject({ code: 3, stdout: '' });
    expect(busy.stderr).toMatch(/^vmdkfs: .*mnt: .*busy; in use by .*\n$/);
    expect(await vmdkfs('unmount', '--quiet', '--lazy', mountpoint)).toEqual(DONE);
    await handle.close();
    await until('the image is closed', SOON_MS, () => !existsSync(`/proc/${pid}`));
  });

  test('tells what a server said that was made to leave', async () => {
    const image = await newImage('16M');
    const { disk, mountpoint, pid } = await mountImage(image);
    const handle = await open(disk);
    process.kill(pid, 'SIGTERM');
    await until('the mount is detached', SOON_MS, () => !isMountedAt(mountpoint));
    process.kill(pid, 'SIGTERM');
    await until('the server has left', SOON_MS, () => !existsSync(`/proc/${pid}`));
    await handle.close().catch(() => undefined);
    const outcome = await vmdkfs('unmount', mountpoint);
    expect(outcome).toMatchObject({ code: 3, stdout: '' });
    expect(outcome.stderr).toMatch(
      /mnt: no vmdkfs image is mounted there; the last server there ended without closing its image; it said: .*busy; detached.* \| .*SIGTERM again: leaving; what users of the mount still write is lost\n$/,
    );
    // It is said once.
    expect((await vmdkfs('unmount', mountpoint)).stderr).toBe(
      `vmdkfs: ${mountpoint}: no vmdkfs image is mounted there\n`,
    );
  });

  test('says that the server died while it was waited for', async () => {
    const image = await newImage('16M');
    const { mountpoint, pid } = await mountImage(image);
    process.kill(pid, 'SIGSTOP');
    const unmounting = vmdkfs('unmount', mountpoint);
    try {
      await until('it is unmounted', SOON_MS, () => !isMountedAt(mountpoint));
    } finally {
      process.kill(pid, 'SIGKILL');
    }
    expect(await unmounting).toEqual({
      code: 4,
      stdout: '',
      stderr: `vmdkfs: ${image}: the server died before it had closed the image; it was killed\n`,
    });
  });

  test('clears the mount of a server that was killed, and says so; so does the next mount', async () => {
    const image = await newImage('16M');
    const { mountpoint, pid } = await mountImage(image, '--transport', 'libfuse');
    const kill = async (server: number): Promise<void> => {
      process.kill(server, 'SIGKILL');
      await until('the server is gone', SOON_MS, () => !existsSync(`/proc/${server}`));
    };
    await kill(pid);
    expect(await vmdkfs('unmount', mountpoint)).toEqual({
      code: 4,
      stdout: '',
      stderr: `vmdkfs: ${image}: the server died before it had closed the image; ${mountpoint} is unmounted; it was killed\n`,
    });
    expect(isMountedAt(mountpoint)).toBe(false);

    const file = join(tempFolder(), 'pid');
    const over = ['--transport', 'libfuse', '--pid-file', file];
    expect(await vmdkfs('mount', image, mountpoint, ...over)).toEqual(DONE);
    await kill(Number(await check('cat', file)));
    expect(await vmdkfs('mount', image, mountpoint)).toEqual({
      code: 0,
      stdout: '',
      stderr: `vmdkfs: ${mountpoint}: the server of ${image} had died without unmounting; its mount was cleared\n`,
    });
    expect(await vmdkfs('unmount', mountpoint)).toEqual(DONE);
  });
});

describe.skipIf(isMissing('dead mounts of others', 'fuse', 'root', 'unshare'))('mount', () => {
  test('leaves a dead mount alone that is not ours', async () => {
    const image = await newImage('1M');
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    const script = [
      'exec 9<>/dev/fuse',
      'mount -i -t fuse.other other "$1" -o fd=9,rootmode=40000,user_id=0,group_id=0',
      'exec 9>&-',
      'shift; exec "$@"',
    ].join('\n');
    const command = [process.execPath, CLI, 'mount', image, mountpoint];
    const args = ['-m', 'sh', '-euc', script, 'sh', mountpoint, ...command];
    expect(await run('unshare', args)).toEqual({
      code: 3,
      stdout: '',
      stderr: `vmdkfs: ${mountpoint}: a FUSE server that died is still mounted there; run: fusermount3 -u ${mountpoint}\n`,
    });
  });
});

describe.skipIf(isMissing('loop devices', 'fuse', 'root', 'loop', 'ext4'))('--detach-loops', () => {
  test('detaches loop devices that nobody has mounted, all or none', async () => {
    const image = await newImage('32M');
    const { disk, mountpoint } = await mountImage(image);
    const loop = (await check('losetup', '-f', '--show', disk)).trim();
    const folder = join(tempFolder(), 'x');
    mkdirSync(folder);
    onTestFinished(async () => {
      await run('umount', ['-q', folder]);
      const { stdout } = await run('losetup', ['-n', '-O', 'BACK-FILE', loop]);
      if (stdout.includes(mountpoint)) await run('losetup', ['-d', loop]);
    });
    await shell('mkfs.ext4 -q "$1" && mount "$1" "$2" && echo hello >"$2/hello"', loop, folder);

    const busy = await vmdkfs('unmount', mountpoint);
    expect(busy).toMatchObject({ code: 3, stdout: '' });
    expect(busy.stderr).toMatch(
      new RegExp(`busy; in use by .*${loop} [(]--detach-loops detaches loop devices that nobody`),
    );
    expect(await vmdkfs('unmount', '--detach-loops', mountpoint)).toEqual({
      code: 3,
      stdout: '',
      stderr: `vmdkfs: ${mountpoint}: ${loop} is mounted on ${folder}; end that first\n`,
    });
    expect(isMountedAt(mountpoint)).toBe(true);

    await check('umount', folder);
    const other = (await check('losetup', '-f', '--show', '-r', disk)).trim();
    const outcome = await vmdkfs('unmount', '--detach-loops', mountpoint);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(outcome.stdout.trim().split('\n').sort()).toEqual(
      [loop, other].map((device) => `${device} detached (${disk})`).sort(),
    );
    expect(isMountedAt(mountpoint)).toBe(false);
    expect(inspectSparseFile(image)).toMatchObject({ problems: [], uncleanShutdown: 0 });
    expect(await vmdkfs('unmount', '--detach-loops', mountpoint)).toMatchObject({ code: 3 });

    const again = await mountImage(image);
    await check('losetup', '-f', again.disk);
    expect(await vmdkfs('unmount', '-q', '--detach-loops', again.mountpoint)).toEqual(DONE);
  });
});

const needsLog = isMissing('the system log', 'fuse', 'root', 'unshare', 'python3');

describe.skipIf(needsLog)('a server in the background', () => {
  test('tells the system log what it has to say', async () => {
    const image = await newImage('16M');
    const folder = tempFolder();
    onTestFinished(() => {
      rmSync(folder, { recursive: true, force: true });
    });
    // A /dev of its own, where somebody listens as a system log does.
    const script = `
mkdir "$1/mnt" && cd "$1"
mount -t tmpfs none /mnt
for node in 'null c 1 3' 'zero c 1 5' 'urandom c 1 9' 'random c 1 8' 'fuse c 10 229'; do
  mknod -m 666 /mnt/$node
done
mount --bind /mnt /dev
python3 -c '
import socket
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
open("bound", "w").close()
open("said", "w").write(log.recv(65536).decode())' &
while [ ! -e bound ]; do sleep 0.05; done
"$2" "$3" mount "$4" mnt --pid-file pid
exec 8<mnt/disk.raw
kill "$(cat pid)"
wait
exec 8<&-
while [ -e pid ]; do sleep 0.05; done
cat said`;
    const args = ['-m', 'sh', '-euc', script, 'sh', folder, process.execPath, CLI, image];
    const { code, stderr, stdout } = await run('timeout', ['200', 'unshare', ...args]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^<28>vmdkfs\[\d+\]: \S+\/mnt: .*busy; detached, and served until its last/,
    );
  });
});
