/** What only the kernel transport has: its helper, its threads, passthrough, and how it fails. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage, type OpenedImage } from '../../src/block/open-image.js';
import { describeError } from '../../src/errno.js';
import { newDiskState, viewState } from '../../src/fs/disk-state.js';
import { newRequestCounters } from '../../src/fuse/request-counters.js';
import type * as KernelTransport from '../../src/mount/kernel-transport.js';
import { markedFlat } from '../helpers/disks.js';
import { newImage } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

/** Process ids of living fusermount3 helpers for `mountpoint`; one that ended unreaped is dead. */
function helpersOf(mountpoint: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return words[0] === 'fusermount3' && words.includes(mountpoint) ? [Number(name)] : [];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

const isAbsent = isMissing('kernel transport', 'fuse');

describe.skipIf(isAbsent)('the kernel transport', () => {
  test.each([[[]], [['-o', 'writeback_cache']]])(
    'leaves no mount and no helper when it is killed, and mounts again at once (%j)',
    async (options) => {
      const image = await newImage('16M');
      for (let round = 0; round < 5; round++) {
        const { disk, mountpoint, pid } = await mountImage(image, ...options);
        expect(helpersOf(mountpoint)).toHaveLength(1);
        const handle = await open(disk, 'r+');
        await handle.write(Buffer.alloc(4096, round + 1), 0, 4096, 0);
        await handle.sync();
        process.kill(pid, 'SIGKILL');
        await until('the mount is gone', 1000, () => !isMountedAt(mountpoint));
        await handle.close().catch(() => undefined);
        await until('the helper is gone', 1000, () => helpersOf(mountpoint).length === 0);
        expect(await vmdkfs('mount', image, mountpoint)).toMatchObject({ code: 0 });
        const again = await open(disk, 'r');
        const { buffer } = await again.read(Buffer.alloc(4096), 0, 4096, 0);
        await again.close();
        expect(buffer.equals(Buffer.alloc(4096, round + 1))).toBe(true);
        expect(await vmdkfs('unmount', mountpoint)).toMatchObject({ code: 0 });
      }
    },
  );

  test('leaves no helper and no server when it is unmounted', async () => {
    const { mountpoint, pid, unmount } = await mountImage(await newImage('1M'));
    await unmount();
    await until('the server is gone', 2000, () => {
      const status = existsSync(`/proc/${pid}`)
        ? readFileSync(`/proc/${pid}/status`, 'utf8')
        : 'State:\tZ';
      return /^State:\tZ/m.test(status);
    });
    expect(helpersOf(mountpoint)).toEqual([]);
  });

  test.each(['1', '2', '8'])('serves with %s threads', async (workers) => {
    const { disk, pid } = await mountImage(await newImage('4M'), '--workers', workers);
    const names = readdirSync(`/proc/${pid}/task`).map((task) =>
      readFileSync(`/proc/${pid}/task/${task}/wchan`, 'utf8'),
    );
    expect(names.filter((name) => name.startsWith('fuse_'))).toHaveLength(Number(workers));
    await check('dd', 'if=/dev/urandom', `of=${disk}`, 'bs=1M', 'count=4', 'conv=notrunc');
  });

  test('refuses a number of threads that is none', async () => {
    for (const workers of ['0', 'many', '65']) {
      const outcome = await vmdkfs('mount', 'x.vmdk', 'mnt', '--workers', workers);
      expect(outcome).toMatchObject({ code: 1 });
      expect(outcome.stderr).toMatch(/not a number of threads/);
    }
  });

  test('refuses the writeback cache over libfuse', async () => {
    const args = ['-o', 'writeback_cache', '--transport', 'libfuse'];
    const outcome = await vmdkfs('mount', await newImage('1M'), tempFolder(), ...args);
    expect(outcome).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/kernel transport/) as string,
    });
  });
});

describe.skipIf(isAbsent)('a serving thread that dies', () => {
  /** Mounts in this process, which must not touch the mount but from other threads. */
  async function mountHere(
    image: OpenedImage,
    mountpoint: string,
    state: SharedArrayBuffer,
    workers = 2,
  ) {
    const file = new URL('../../dist/mount/kernel-transport.js', import.meta.url).href;
    const { mountKernel } = (await import(file)) as typeof KernelTransport;
    return mountKernel(image, {
      ...{ mountpoint, fsname: 'test', readOnly: false, options: [], state },
      ...{ workers, writebackCache: false, passthrough: false, debug: false },
      // A slot for each thread, and one for OPENs that wait.
      counters: newRequestCounters(workers + 1),
    });
  }

  function openHere(image: string): OpenedImage {
    const opened = openImage(image, { readOnly: false });
    onTestFinished(() => {
      opened.device.close();
    });
    return opened;
  }

  test('at its start leaves nothing mounted', async () => {
    const mountpoint = tempFolder();
    const image = openHere(await newImage('1M'));
    const state = newDiskState({ uid: 0, gid: 0, mode: 0o644, mtime: 0 });
    const nothing = { ...image, description: { ...image.description, layers: [] } };
    const mounting = mountHere(nothing, mountpoint, state);
    await expect(mounting).rejects.toThrow(/a serving thread died/);
    expect(isMountedAt(mountpoint)).toBe(false);
    await until('the helper is gone', 2000, () => helpersOf(mountpoint).length === 0);
  });

  test('at its start leaves /dev/fuse open until no thread can use it', async () => {
    const mountpoint = tempFolder();
    const image = openHere(await newImage('1M'));
    const state = newDiskState({ uid: 0, gid: 0, mode: 0o644, mtime: 0 });
    const nothing = { ...image, description: { ...image.description, layers: [] } };
    // So many that the first has died long before the last is there.
    const workers = 24;
    const before = threadCount();
    const mounting = mountHere(nothing, mountpoint, state, workers).catch(describeError);
    await until('the connection is there', 20_000, () => connections().length > 0);
    let threads = 0;
    while (connections().length > 0) {
      threads = threadCount();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await mounting).toMatch(/a serving thread died/);
    // Node itself may have started some of its own.
    expect(threads - before).toBeLessThan(8);
  });

  test('later ends the mount with an error, and frees what it held', async () => {
    const mountpoint = tempFolder();
    const image = openHere(await newImage('1M'));
    const state = newDiskState({ uid: 0, gid: 0, mode: 0o644, mtime: 0 });
    const { threadId } = new Worker('', { eval: true });
    const transport = await mountHere(image, mountpoint, state);
    onTestFinished(async () => {
      await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
    });
    const ended = expect(transport.ended).rejects.toThrow(
      /a serving thread died: .*bad file descriptor/,
    );
    expect((await stat(join(mountpoint, 'disk.raw'))).size).toBe(1024 * 1024);
    for (const fd of connections()) closeSync(fd);
    // As if the first had been in the middle of something.
    const views = viewState(state);
    const words = new Int32Array(state);
    const free = [...words];
    expect([views.tableMutex.tryLock(), views.viewsMutex.tryLock()]).toEqual([true, true]);
    // The first word of a mutex is the thread's id plus one.
    free.forEach((word, index) => {
      if (words[index] !== word) words[index] = threadId + 2;
    });
    // Each thread serves one more request, whose reply fails, and then cannot read.
    await Promise.allSettled([stat(join(mountpoint, 'a')), stat(join(mountpoint, 'b'))]);
    await ended;
    await transport.idle;
    expect([views.tableMutex.tryLock(), views.viewsMutex.tryLock()]).toEqual([true, true]);
  });
});

/** The descriptors of this process for /dev/fuse. */
function connections(): number[] {
  return readdirSync('/proc/self/fd').map(Number).filter(isFuseDevice);
}

function threadCount(): number {
  return readdirSync('/proc/self/task').length;
}

function isFuseDevice(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false; // closed
  }
}

describe.skipIf(isAbsent)('where the C library cannot be called', () => {
  /** The built program without koffi. */
  function cliWithoutKoffi(): string {
    const folder = tempFolder();
    const root = new URL('../..', import.meta.url).pathname;
    cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(folder, 'package.json'));
    mkdirSync(join(folder, 'node_modules'));
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (name === 'koffi' || name.startsWith('.')) continue;
      symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
    }
    return join(folder, 'dist/cli/main.js');
  }

  test('fuse-native serves, and one line says why', async () => {
    const cli = cliWithoutKoffi();
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    const image = await newImage('1M');
    const vmdkfsThere = (...args: readonly string[]) => run(process.execPath, [cli, ...args]);
    const refused = await vmdkfsThere('mount', image, mountpoint, '--transport', 'kernel');
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/could not be mounted: Cannot find module 'koffi'/);
    const mounted = await vmdkfsThere('mount', image, mountpoint);
    expect(mounted.code).toBe(0);
    expect(mounted.stderr.split('\n')).toEqual([
      "vmdkfs: Cannot find module 'koffi'; serving over fuse-native",
      "vmdkfs: other programs are not kept from using the image: Cannot find module 'koffi'",
      '',
    ]);
    expect((await stat(join(mountpoint, 'disk.raw'))).size).toBe(1024 * 1024);
    expect(await vmdkfsThere('unmount', mountpoint)).toMatchObject({ code: 0 });
  });
});

/** What a server in the foreground prints while `action` uses its mount. */
async function debugLines(
  image: string,
  args: readonly string[],
  action: (disk: string) => Promise<void>,
): Promise<string> {
  const mountpoint = join(tempFolder(), 'mnt');
  mkdirSync(mountpoint);
  const child = spawn(process.execPath, [CLI, 'mount', '-d', image, mountpoint, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const ended = new Promise((resolve) => child.once('close', resolve));
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  await until('it is mounted', 10_000, () => text.includes('is mounted on'));
  await action(join(mountpoint, 'disk.raw'));
  child.kill('SIGTERM');
  await ended;
  return text;
}

describe.skipIf(isAbsent)('a plain disk mounted read-only', () => {
  const readAll = async (disk: string): Promise<void> => {
    const bytes = Buffer.alloc(8 * 1024 * 1024);
    bytes.fill(7, 0, 512);
    const handle = await open(disk, 'r');
    expect((await handle.readFile()).equals(bytes)).toBe(true);
    await handle.close();
  };

  test('is read by the kernel itself where root mounts it', async ({ skip }) => {
    if (isMissing('passthrough', 'root')) skip();
    const text = await debugLines(markedFlat(), ['-o', 'ro'], readAll);
    if (!text.includes('passthrough true')) {
      console.log('SKIPPED passthrough: this kernel does not offer it');
      skip();
    }
    expect(text).toMatch(/OPEN inode 2/);
    expect(text).not.toMatch(/READ inode/);
  });

  test('is copied where that is refused', async () => {
    const text = await debugLines(markedFlat(), ['-o', 'ro,no_passthrough'], readAll);
    expect(text).toMatch(/passthrough false/);
    expect(text).toMatch(/READ inode 2/);
  });
});

describe.skipIf(isAbsent)('mounting fails with a sentence', () => {
  /** A PATH with nothing but the named programs. */
  function pathWith(...programs: readonly string[]): string {
    const folder = tempFolder();
    chmodSync(folder, 0o755);
    for (const program of programs) {
      const found = ['/usr/bin', '/bin', '/usr/sbin', '/sbin']
        .map((each) => join(each, program))
        .find((each) => existsSync(each));
      if (found !== undefined) symlinkSync(found, join(folder, program));
    }
    return folder;
  }

  test('never for root without fusermount3, who mounts by a call', async ({ skip }) => {
    if (isMissing('mount(2)', 'root')) skip();
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    onTestFinished(async () => {
      await run('umount', ['-q', '-l', mountpoint]);
    });
    const env = { ...process.env, PATH: pathWith('umount', 'stat') };
    const vmdkfsThere = (...args: readonly string[]) =>
      run(process.execPath, [CLI, ...args], { env });
    const image = await newImage('4M');
    expect(await vmdkfsThere('mount', image, mountpoint, '-o', 'ro,noexec,allow_other')).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const options = await check('findmnt', '-no', 'FSTYPE,SOURCE,OPTIONS', mountpoint);
    expect(options).toMatch(
      /^fuse\.vmdkfs \S+ ro,nosuid,nodev,noexec,.*default_permissions,allow_other/,
    );
    expect(options).toContain(image);
    expect(await vmdkfsThere('unmount', mountpoint)).toMatchObject({ code: 0 });
  });

  test('for a user without fusermount3, and without user_allow_other', async ({ skip }) => {
    if (isMissing('as an ordinary user', 'root', 'setpriv', 'unshare')) skip();
    const image = await newImage('4M');
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    await check('chown', '-R', '65534:65534', join(image, '..'), join(mountpoint, '..'));
    const asNobody = (path: string, ...args: readonly string[]) =>
      run('unshare', [
        ...['-m', 'sh', '-euc'],
        'mount -t tmpfs none /dev/shm 2>/dev/null || true; cp -a /dev/fuse /tmp/fuse.$$; chmod 666 /tmp/fuse.$$; mount --bind /tmp/fuse.$$ /dev/fuse; rm -f /tmp/fuse.$$; path="$1"; shift; exec setpriv --reuid 65534 --regid 65534 --clear-groups env PATH="$path" "$@"',
        ...['sh', path, process.execPath, CLI, ...args],
      ]);
    const without = await asNobody(pathWith('umount'), 'mount', image, mountpoint);
    expect(without.stderr).toMatch(/fusermount3 is not installed \(Debian package fuse3\)/);
    expect(without.code).toBe(3);
    const others = await asNobody('/usr/bin:/bin', 'mount', image, mountpoint, '-o', 'allow_other');
    expect(others.stderr).toMatch(/user_allow_other.*\/etc\/fuse\.conf/);
    expect(others.code).toBe(3);
  });
});
