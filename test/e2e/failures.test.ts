/** Every way to fail has one clear line, its exit code, and leaves the image as it was. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { qemuImage, writeDescriptor } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { asNobody, asNobodyAfter } from '../helpers/nobody.js';
import { littleEndian, poke } from '../helpers/poke.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, shell, vmdkfs, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

let folder: string;
let image: string;
let mountpoint: string;

beforeEach(async () => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  mountpoint = join(folder, 'mnt');
  mkdirSync(mountpoint);
  expect((await vmdkfs('create', image, '--size', '16M')).code).toBe(0);
});

function hash(path: string): string {
  return existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
}

/** Mounts `path`, which has to fail with `code` and one line that matches; nothing stays mounted. */
async function expectFailure(path: string, code: number, line: RegExp): Promise<void> {
  const before = path === folder ? '' : hash(path);
  const outcome = await vmdkfs('mount', path, mountpoint);
  expectOneLine(outcome, code, line);
  expect(isMountedAt(mountpoint)).toBe(false);
  if (path !== folder) expect(hash(path)).toBe(before);
  expectOneLine(await vmdkfs('mount', path, mountpoint, '-f'), code, line);
}

function expectOneLine({ code, stderr, stdout }: Outcome, expected: number, line: RegExp): void {
  expect(stderr).toMatch(line);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(stderr).toMatch(/^vmdkfs: /);
  expect(stdout).toBe('');
  expect(code).toBe(expected);
}

describe.skipIf(isMissing('failures of mount', 'fuse'))('mount fails with one line', () => {
  test('2 for a truncated image', async () => {
    truncateSync(image, 30_000);
    await expectFailure(image, 2, /disk\.vmdk: .*has only 30000 bytes; it is truncated/);
  });

  test('2 for a header field out of range', async () => {
    poke(image, 20, littleEndian(3, 8));
    await expectFailure(image, 2, /grain size 3 sectors is not a power of two/);
  });

  test('2 for a missing extent', async () => {
    writeDescriptor(image, ['RW 8 FLAT "gone.raw" 0']);
    await expectFailure(image, 2, /extent file "gone\.raw" \(descriptor line 8\) does not exist/);
  });

  test('2 for a directory', async () => {
    await expectFailure(folder, 2, /is a directory \(a VMDK file expected\)/);
  });

  test('2 for a file that is no VMDK', async () => {
    writeFileSync(image, 'hello, world\n');
    await expectFailure(image, 2, /is not a VMDK/);
  });

  test('4 for an image that does not exist', async () => {
    await expectFailure(join(folder, 'none.vmdk'), 4, /none\.vmdk: no such file or directory/);
  });

  test('3 for a mountpoint that does not exist', async () => {
    const outcome = await vmdkfs('mount', image, join(folder, 'nowhere'));
    expectOneLine(outcome, 3, /nowhere: does not exist; make the directory first/);
  });

  test('3 for a mountpoint that is a file', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    expectOneLine(await vmdkfs('mount', image, file), 3, /file: is not a directory/);
  });

  test('3 for a mountpoint that is not empty, 0 with -o nonempty', async () => {
    writeFileSync(join(mountpoint, 'file'), '');
    expectOneLine(await vmdkfs('mount', image, mountpoint), 3, /is not empty/);
    expect(await vmdkfs('mount', image, mountpoint, '-o', 'nonempty')).toMatchObject({ code: 0 });
    expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
  });

  test('3 for an image inside its own mountpoint', async () => {
    copyFileSync(image, join(mountpoint, 'disk.vmdk'));
    const outcome = await vmdkfs('mount', join(mountpoint, 'disk.vmdk'), mountpoint);
    expectOneLine(outcome, 3, /lies inside its own mountpoint/);
  });

  test('3 for a mountpoint that is busy', async () => {
    const mounted = await mountImage(image);
    const other = join(folder, 'other.vmdk');
    await vmdkfs('create', other, '--size', '1M');
    const before = hash(other);
    const outcome = await vmdkfs('mount', other, mounted.mountpoint);
    expectOneLine(outcome, 3, /is busy, .*disk\.vmdk \(fuse\.vmdkfs\) is mounted there/);
    expect(hash(other)).toBe(before);
    await mounted.unmount();
  });

  test('1 for an option that is not known, before anything is opened', async () => {
    expectOneLine(
      await vmdkfs('mount', image, mountpoint, '-o', 'ro,frobnicate'),
      1,
      /"frobnicate"/,
    );
    expect((await vmdkfs('mount', image)).code).toBe(1);
    expect((await vmdkfs('mount', image, mountpoint, '--transport', 'pigeon')).code).toBe(1);
  });

  test('3 for unmounting what is not mounted', async () => {
    expectOneLine(await vmdkfs('unmount', mountpoint), 3, /no vmdkfs image is mounted there/);
  });

  test('3 for unmounting a busy mount, with who holds it; then it goes on', async () => {
    const mounted = await mountImage(image);
    const handle = await open(mounted.disk);
    const outcome = await vmdkfs('unmount', mounted.mountpoint);
    expectOneLine(outcome, 3, new RegExp(`busy; in use by .* \\(pid ${process.pid}\\)`));
    expect(isMountedAt(mounted.mountpoint)).toBe(true);
    await handle.close();
    await mounted.unmount();
  });
});

const needsNamespace = isMissing('failures of a machine', 'fuse', 'root', 'setpriv');

describe.skipIf(needsNamespace)('mount fails with one line on a machine', () => {
  test('3 without /dev/fuse', async () => {
    const before = hash(image);
    const line = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"';
    const args = ['-m', 'sh', '-c', line, 'sh', process.execPath, CLI, 'mount', image, mountpoint];
    expectOneLine(
      await run('unshare', args),
      3,
      /^vmdkfs: \/dev\/fuse: does not exist; .*modprobe fuse/,
    );
    expect(hash(image)).toBe(before);
  });

  test('3 where /dev/fuse is not open to users', async () => {
    await shell('chown -R 65534:65534 "$1" && chmod 755 "$1"', folder);
    const before = hash(image);
    const device = 'chmod 600 /mnt/fuse';
    const outcome = await asNobodyAfter(device, process.execPath, CLI, 'mount', image, mountpoint);
    expectOneLine(
      outcome,
      3,
      /^vmdkfs: \/dev\/fuse: may not be opened .*: chmod 666 \/dev\/fuse$/m,
    );
    expect(hash(image)).toBe(before);
  });

  test('4 for an image without permission', async () => {
    chmodSync(folder, 0o755);
    chmodSync(image, 0o600);
    const before = hash(image);
    const outcome = await asNobody(process.execPath, CLI, 'info', image);
    expectOneLine(outcome, 4, /disk\.vmdk: permission denied/);
    expectOneLine(
      await asNobody(process.execPath, CLI, 'mount', image, mountpoint),
      4,
      /disk\.vmdk: permission denied/,
    );
    chmodSync(image, 0o644);
    expectOneLine(
      await asNobody(process.execPath, CLI, 'mount', image, mountpoint),
      4,
      /disk\.vmdk: may not be written; it can be mounted with -o ro/,
    );
    expect(hash(image)).toBe(before);
  });
});

describe.skipIf(needsNamespace)('an ordinary user', () => {
  /** Where the sockets of a user's mounts are who has no /run/user. */
  const runtime = '/tmp/vmdkfs-65534';

  test('mounts, writes and unmounts through fusermount3', async () => {
    await shell('chown -R 65534:65534 "$1" && chmod 755 "$1"', folder);
    onTestFinished(() => {
      rmSync(runtime, { recursive: true, force: true });
    });
    const script = [
      `node="${process.execPath}"; cli="${CLI}"`,
      '"$node" "$cli" mount "$1" "$2"',
      'ls -ln "$2" | grep -q " 65534 65534 .*disk.raw$"',
      'printf hello | dd of="$2/disk.raw" bs=1 seek=100000 conv=notrunc status=none',
      '"$node" "$cli" unmount "$2"',
      '"$node" "$cli" mount -o ro "$1" "$2"',
      'dd if="$2/disk.raw" bs=1 skip=100000 count=5 status=none',
      '"$node" "$cli" unmount "$2"',
    ].join('\n');
    const outcome = await asNobody('sh', '-euc', script, 'sh', image, mountpoint);
    expect(outcome).toEqual({ code: 0, stdout: 'hello', stderr: '' });
  });

  test('has the mount of a killed server cleared by the next mount and by unmount, root too', async () => {
    await shell('chown -R 65534:65534 "$1" && chmod 755 "$1"', folder);
    onTestFinished(() => {
      rmSync(runtime, { recursive: true, force: true });
    });
    // The helper goes too: what it clears for whom depends on its version.
    const script = [
      'mount -t tmpfs none /mnt',
      'mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse',
      `nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }`,
      `vmdkfs="${process.execPath} ${CLI}"`,
      'killed() {',
      '  nobody $vmdkfs mount "$1" "$2" --pid-file "$3"',
      '  kill -9 $(cat "$3") $(pgrep -f "^fusermount3 .* $2\$")',
      '  until stat "$2" 2>&1 | grep -q "Transport endpoint\\|Permission denied"; do sleep 0.05; done',
      '  rm "$3"',
      '}',
      'killed "$@"; nobody $vmdkfs unmount "$2" || echo "user $?"',
      'killed "$@"; nobody $vmdkfs mount "$1" "$2"; nobody $vmdkfs unmount "$2"; echo "user $?"',
      'killed "$@"; $vmdkfs unmount "$2" || echo "root $?"',
      'killed "$@"; $vmdkfs mount "$1" "$2"; $vmdkfs unmount "$2"; echo "root $?"',
      '! grep -q " $2 " /proc/self/mounts',
    ].join('\n');
    const pidFile = join(folder, 'pid');
    const args = ['-m', 'sh', '-euc', script, 'sh', image, mountpoint, pidFile];
    const died = `vmdkfs: ${image}: the server died before it had closed the image; ${mountpoint} is unmounted; it was killed\n`;
    const cleared = `vmdkfs: ${mountpoint}: the server of ${image} had died without unmounting; its mount was cleared\n`;
    expect(await run('unshare', args)).toEqual({
      code: 0,
      stdout: 'user 4\nuser 0\nroot 4\nroot 0\n',
      stderr: died + cleared + died + cleared,
    });
  });
});

describe.skipIf(isMissing('failures of create', 'qemu'))('create', () => {
  test('makes what qemu-img calls clean, of the size asked for', async () => {
    const path = join(folder, 'new.vmdk');
    expect(await vmdkfs('create', path, '--size', '1.5G')).toMatchObject({ code: 0, stderr: '' });
    const info = JSON.parse(
      (await run('qemu-img', ['info', '--output=json', path])).stdout,
    ) as unknown;
    expect(info).toMatchObject({ 'virtual-size': 1.5 * 1024 ** 3, format: 'vmdk' });
    expect((await run('qemu-img', ['check', path])).code).toBe(0);
  });

  test('makes a child whose parent qemu reads through', async () => {
    const base = join(folder, 'base.vmdk');
    await qemuImage(base, 'monolithicSparse', '8M');
    await run('qemu-io', ['-f', 'vmdk', '-c', 'write -P 0x5a 1M 1M', base]);
    const child = join(folder, 'child.vmdk');
    expect((await vmdkfs('create', child, '--backing', base)).code).toBe(0);
    const read = await run('qemu-io', ['-r', '-f', 'vmdk', '-c', 'read -P 0x5a 1M 1M', child]);
    expect(read.stdout).not.toMatch(/verification failed|error/i);
    expect(read.code).toBe(0);
  });

  test('never overwrites, and leaves nothing behind', async () => {
    const before = hash(image);
    expectOneLine(
      await vmdkfs('create', image, '--size', '1M'),
      4,
      /disk\.vmdk: file already exists/,
    );
    expect(hash(image)).toBe(before);
    const large = join(folder, 'large.vmdk');
    expectOneLine(await vmdkfs('create', large, '--size', '3T'), 4, /at most 2 TiB/);
    expect(existsSync(large)).toBe(false);
    expectOneLine(await vmdkfs('create', large), 1, /needs --size/);
    expectOneLine(await vmdkfs('create', large, '--size', 'big'), 1, /"big" is not a size/);
  });
});

describe('the command line', () => {
  test('shows help on --help, and as an error without arguments', async () => {
    const help = await vmdkfs('--help');
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toMatch(/^Usage: vmdkfs/);
    expect(help.stdout).toMatch(/Exit codes: 0 done/);
    expect(await vmdkfs()).toEqual({ code: 1, stdout: '', stderr: help.stdout });
    expect((await vmdkfs('mount', '--help')).stdout).toMatch(/allow_other/);
    expect((await vmdkfs('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('info', () => {
  test('shows sizes, CID and extents, also as JSON', async () => {
    const { code, stdout } = await vmdkfs('info', image);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^subformat: {2}monolithicSparse$/m);
    expect(stdout).toMatch(/^size: {7}16 MiB \(16777216 bytes\)$/m);
    expect(stdout).toMatch(/^extent: {5}RW SPARSE 16 MiB/m);
    const json = JSON.parse((await vmdkfs('info', '--json', image)).stdout) as unknown;
    expect(json).toMatchObject({
      size: 16777216,
      allocated: 0,
      chain: [{ createType: 'monolithicSparse', parentCid: null, extents: [{ type: 'SPARSE' }] }],
    });
  });

  test('fails with 2 for a bad image and 4 for a missing one', async () => {
    poke(image, 4, littleEndian(9, 4));
    expectOneLine(await vmdkfs('info', image), 2, /header version 9 is not known/);
    expectOneLine(await vmdkfs('info', join(folder, 'none')), 4, /no such file/);
  });
});
