/** `vmdkfs stats`: the counters of mounts, on both transports, and of those that do not answer. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newImage } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, shell, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;

interface Counts {
  readonly requests: number;
  readonly errors: number;
  readonly bytes: number;
  readonly latency: { readonly p50: number; readonly max: number } | null;
}

interface Stats {
  readonly pid: number;
  readonly allocated: number;
  readonly requests: Readonly<Record<string, Counts>>;
  readonly engine: Readonly<Record<string, number>>;
}

async function statsOf(mountpoint: string): Promise<Stats> {
  const { code, stderr, stdout } = await vmdkfs('stats', mountpoint, '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Stats;
}

describe.skipIf(isMissing('stats', 'fuse'))('vmdkfs stats', () => {
  test.each(['kernel', 'libfuse'])(
    'counts what is done over the %s transport',
    async (transport) => {
      const image = await newImage('64M');
      const { disk, mountpoint, pid } = await mountImage(image, '--transport', transport);
      const before = await statsOf(mountpoint);
      expect(before.pid).toBe(pid);
      expect(before.requests['write']).toMatchObject({ requests: 0, bytes: 0, latency: null });
      await shell(
        'dd if=/dev/urandom of="$1" bs=1M count=4 conv=notrunc,fsync status=none; dd if="$1" of=/dev/null bs=1M skip=32 count=8 status=none; ! cat "$2/no such name" 2>/dev/null',
        disk,
        mountpoint,
      );
      const { engine, requests } = await statsOf(mountpoint);
      const [fsync, flush, open, read, write] = ['fsync', 'flush', 'open', 'read', 'write'].map(
        (kind) => requests[kind]!,
      ) as [Counts, Counts, Counts, Counts, Counts];
      expect(write).toMatchObject({ errors: 0, bytes: 4 * MIB });
      expect(write.requests).toBeGreaterThanOrEqual(4);
      expect(write.latency!.max).toBeGreaterThanOrEqual(write.latency!.p50);
      expect(read.bytes).toBeGreaterThanOrEqual(8 * MIB);
      expect(read.requests).toBeGreaterThan(0);
      expect([fsync.requests, fsync.errors, fsync.bytes]).toEqual([1, 0, 0]);
      expect(flush.requests).toBeGreaterThanOrEqual(1);
      expect(open.requests).toBeGreaterThanOrEqual(2);
      // libfuse looks names up by asking for their attributes.
      const misses = transport === 'kernel' ? 'lookup' : 'getattr';
      expect(requests[misses]!.errors).toBeGreaterThanOrEqual(1);
      expect(engine['grainsAllocated']).toBe(64);
      expect(engine['flushes']).toBeGreaterThanOrEqual(1);
      expect(engine['barriers']).toBeGreaterThanOrEqual(2);

      const { code, stderr, stdout } = await vmdkfs('stats', mountpoint);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(
        new RegExp(`^image: +${image}\nmountpoint: ${mountpoint}, read-write, by `),
      );
      expect(stdout).toMatch(new RegExp(`^server: +pid ${pid}, ${transport} transport, `, 'm'));
      expect(stdout).toMatch(/^REQUESTS +COUNT +ERRORS +BYTES +P50 +P90 +P99 +MAX$/m);
      expect(stdout).toMatch(/^write +\d+ +0 +4 MiB( +[\d.]+ (us|ms|s)){4}$/m);
      expect(stdout).toMatch(/^grains allocated: +64$/m);
    },
  );

  test('knows what takes up space, as far as a second ago', async () => {
    const image = await newImage('64M');
    const { disk, mountpoint } = await mountImage(image);
    expect((await statsOf(mountpoint)).allocated).toBe(0);
    await shell('dd if=/dev/urandom of="$1" bs=1M count=3 conv=notrunc status=none', disk);
    let allocated = 0;
    for (let round = 0; allocated === 0 && round < 100; round++) {
      allocated = (await statsOf(mountpoint)).allocated;
    }
    expect(allocated).toBe(3 * MIB);
  }, 60_000);

  test('watches until the image is unmounted, or a signal comes, or nobody reads', async () => {
    const image = await newImage('64M');
    const mount = await mountImage(image);
    const { disk, mountpoint } = mount;
    const watch = vmdkfs('stats', mountpoint, '--interval', '0.2', '--json');
    const table = spawn(process.execPath, [CLI, 'stats', mountpoint, '-w', '--interval', '0.1']);
    onTestFinished(() => {
      table.kill('SIGKILL');
    });
    let text = '';
    table.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const ended = new Promise((resolve) =>
      table.once('exit', (code, signal) => {
        resolve({ code, signal });
      }),
    );
    await until('lines are there', 60_000, () => text.split('\n').length > 3);
    await shell('dd if=/dev/urandom of="$1" bs=64k count=16 conv=notrunc status=none', disk);
    const seen = text.length;
    await until('another line is there', 60_000, () => text.indexOf('\n', seen) > 0);
    table.kill('SIGINT');
    expect(await ended).toEqual({ code: 0, signal: null });
    expect(text).toMatch(/^ *reads\/s +read\/s +us +writes\/s .*\n( +(\d+|-).*\n)+$/);
    // A pipe that ends: the command ends with it.
    const line = 'exec 3>&1; "$1" "$2" stats "$3" --interval 0.1 | head -2 >/dev/null; echo ended';
    expect(await shell(line, process.execPath, CLI, mountpoint)).toBe('ended\n');
    await mount.unmount();
    const { code, stderr, stdout } = await watch;
    expect({ code, stderr }).toEqual({ code: 0, stderr: `vmdkfs: ${mountpoint}: was unmounted\n` });
    const lines = stdout
      .trim()
      .split('\n')
      .map((each) => JSON.parse(each) as Stats & { readonly seconds: number });
    const written = lines.reduce((sum, { requests }) => sum + (requests['write']?.bytes ?? 0), 0);
    expect(written).toBe(MIB);
    for (const { seconds } of lines) expect(seconds).toBeGreaterThanOrEqual(0.19);
  }, 120_000);

  test('says so where nothing of ours is mounted, and refuses intervals that are none', async () => {
    const folder = tempFolder();
    expect(await vmdkfs('stats', folder)).toEqual({
      code: 3,
      stdout: '',
      stderr: `vmdkfs: ${folder}: no vmdkfs image is mounted there\n`,
    });
    const other = await vmdkfs('stats', '/proc');
    expect(other).toMatchObject({ code: 3, stdout: '' });
    expect(other.stderr).toBe(
      'vmdkfs: /proc: no vmdkfs image is mounted there, but proc (proc) is\n',
    );
    for (const interval of ['0', 'x', '1e9', '-1']) {
      const { code, stderr, stdout } = await vmdkfs('stats', folder, `--interval=${interval}`);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain(`"${interval}" is no interval (0.1 to 86400 seconds expected)`);
    }
    expect((await vmdkfs('stats')).code).toBe(1);
  });

  test('says so where the server does not answer', async () => {
    const { mountpoint, pid } = await mountImage(await newImage('4M'));
    process.kill(pid, 'SIGSTOP');
    onTestFinished(() => {
      process.kill(pid, 'SIGCONT');
    });
    expect(await vmdkfs('stats', mountpoint)).toEqual({
      code: 4,
      stdout: '',
      stderr: `vmdkfs: ${mountpoint}: its server did not answer within 5 s\n`,
    });
  }, 60_000);

  test('says so where the server has died', async () => {
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    const image = await newImage('4M');
    expect((await vmdkfs('mount', image, mountpoint, '--transport', 'libfuse')).code).toBe(0);
    onTestFinished(async () => {
      if (isMountedAt(mountpoint)) await run('fusermount3', ['-u', '-z', '--', mountpoint]);
    });
    const { pid } = await statsOf(mountpoint);
    process.kill(pid, 'SIGKILL');
    let outcome = await vmdkfs('stats', mountpoint);
    // The server may take its time to die.
    for (let round = 0; !outcome.stderr.includes('died') && round < 100; round++) {
      outcome = await vmdkfs('stats', mountpoint);
    }
    expect(outcome).toEqual({
      code: 4,
      stdout: '',
      stderr: `vmdkfs: ${mountpoint}: its server has died; clean up with: vmdkfs unmount ${mountpoint}\n`,
    });
  }, 120_000);

  test('needs the same user', async ({ skip }) => {
    if (isMissing('stats of another user', 'root', 'setpriv')) skip();
    const { mountpoint } = await mountImage(await newImage('4M'));
    const args = ['--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath, CLI];
    expect(await run('setpriv', [...args, 'stats', mountpoint], { cwd: '/' })).toEqual({
      code: 4,
      stdout: '',
      stderr: `vmdkfs: ${mountpoint}: its server answers only user 0, who mounted it, and root\n`,
    });
  });
});
