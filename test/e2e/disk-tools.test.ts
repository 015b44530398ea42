/** The tools people use on raw disks, on `disk.raw` of a real mount. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { IMAGE_KINDS, newImage, qemuImage } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, shell } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

describe.skipIf(isMissing('tools', 'fuse'))('cp, dd and cmp', () => {
  test('a copy of 1 GiB in and out is byte-identical', { timeout: 180_000 }, async () => {
    const image = await newImage('1G');
    const folder = tempFolder();
    const [source, copy] = [join(folder, 'source'), join(folder, 'copy')];
    await check('dd', 'if=/dev/urandom', `of=${source}`, 'bs=1M', 'count=1024', 'status=none');
    const first = await mountImage(image);
    await check('cp', source, first.disk);
    await check('cmp', source, first.disk);
    await first.unmount();
    const second = await mountImage(image, '-o', 'ro');
    await check('cp', second.disk, copy);
    await check('cmp', source, copy);
    await second.unmount();
    expect((await run('qemu-img', ['check', image])).code).toBe(0);
  });

  test('dd writes in place with and without conv=notrunc', async () => {
    const image = await newImage('8M');
    const { disk } = await mountImage(image);
    const source = join(tempFolder(), 'source');
    writeFileSync(source, pattern(64 * 1024, 3));
    await check(
      'dd',
      `if=${source}`,
      `of=${disk}`,
      'bs=4k',
      'seek=16',
      'conv=notrunc',
      'status=none',
    );
    expect(statSync(disk).size).toBe(8 * 1024 * 1024);
    await check('cmp', '-n', '65536', '-i', '0:65536', source, disk);
    // Without notrunc dd asks for a shorter file, is refused with a warning, and goes on.
    const plain = await run('dd', [`if=${source}`, `of=${disk}`, 'bs=4k', 'seek=512']);
    expect(plain.stderr).toMatch(/failed to truncate to 2097152 bytes.*Operation not permitted/);
    expect(plain.stderr).toMatch(/65536 bytes/);
    await check('cmp', '-n', '65536', '-i', '0:2097152', source, disk);
    await check('dd', `if=${source}`, `of=${disk}`, 'bs=4k', 'status=none');
    await check('cmp', '-n', '65536', source, disk);
    expect(statSync(disk).size).toBe(8 * 1024 * 1024);
  });

  test('dd past the end gets ENOSPC', async () => {
    const { disk } = await mountImage(await newImage('1M'));
    const outcome = await run('dd', ['if=/dev/zero', `of=${disk}`, 'bs=64k', 'count=17']);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/No space left on device/);
    expect(outcome.stderr).toMatch(/1048576 bytes/);
  });

  test('cp -p and rsync-like preservation of mode and time succeed', async () => {
    const { disk } = await mountImage(await newImage('1M'));
    const source = join(tempFolder(), 'source');
    writeFileSync(source, pattern(1024 * 1024, 1), { mode: 0o640 });
    await check('cp', '-p', source, disk);
    await check('cmp', source, disk);
    expect(statSync(disk).mode & 0o777).toBe(0o640);
  });
});

describe.skipIf(isMissing('images of qemu-img', 'fuse', 'qemu'))('images made by qemu-img', () => {
  test.each(IMAGE_KINDS)('%s: qemu and the mount see what the other wrote', async (kind) => {
    const image = join(tempFolder(), 'disk.vmdk');
    await qemuImage(image, kind, '2200M');
    const io = (command: string): Promise<string> =>
      check('qemu-io', '-f', 'vmdk', '-c', command, image);
    await io('write -P 0x11 1M 1M');
    await io('write -P 0x22 2047M 2M');
    const { disk, unmount } = await mountImage(image);
    const at = (offset: number, length: number): Promise<string> =>
      shell(
        `dd if="$1" iflag=skip_bytes,count_bytes skip=${offset} count=${length} status=none | tr -d '\\021\\042' | wc -c`,
        disk,
      );
    const MIB = 1024 * 1024;
    expect(Number(await at(MIB, MIB))).toBe(0);
    expect(Number(await at(2047 * MIB, 2 * MIB))).toBe(0);
    const source = join(tempFolder(), 'source');
    writeFileSync(source, Buffer.alloc(3 * MIB, 0x33));
    await check(
      'dd',
      `if=${source}`,
      `of=${disk}`,
      'bs=100000',
      'oflag=seek_bytes',
      `seek=${2046 * MIB + 777}`,
      'conv=notrunc',
      'status=none',
    );
    await unmount();
    for (const command of [
      'read -P 0x11 1M 1M',
      `read -P 0 ${2046 * MIB} 777`,
      `read -P 0x33 ${2046 * MIB + 777} 3M`,
      'read -P 0 2100M 1M',
    ]) {
      expect(await io(command)).not.toMatch(/verification failed/);
    }
    expect((await run('qemu-img', ['check', image])).stdout).toMatch(/No errors|not support/);
    const raw = join(tempFolder(), 'disk.raw');
    const mounted = await mountImage(image, '-o', 'ro');
    await check('cp', '--sparse=always', mounted.disk, raw);
    expect(await check('qemu-img', 'compare', '-f', 'vmdk', '-F', 'raw', image, raw)).toMatch(
      /identical/,
    );
  });

  test('a child is written over its parent, which stays as it is', async () => {
    const folder = tempFolder();
    const [base, child] = [join(folder, 'base.vmdk'), join(folder, 'child.vmdk')];
    await qemuImage(base, 'monolithicSparse', '64M');
    await check('qemu-io', '-f', 'vmdk', '-c', 'write -P 0x44 0 64M', base);
    await check('qemu-img', 'create', '-q', '-f', 'vmdk', '-b', base, '-F', 'vmdk', child);
    const before = readFileSync(base);
    const { disk, unmount } = await mountImage(child);
    const source = join(folder, 'source');
    writeFileSync(source, Buffer.alloc(200_000, 0x55));
    await check(
      'dd',
      `if=${source}`,
      `of=${disk}`,
      'bs=1M',
      'oflag=seek_bytes',
      'seek=123457',
      'conv=notrunc',
      'status=none',
    );
    await unmount();
    expect(readFileSync(base).equals(before)).toBe(true);
    const io = ['read -P 0x44 0 123457', 'read -P 0x55 123457 200000', 'read -P 0x44 323457 1M'];
    for (const command of io) {
      expect(await check('qemu-io', '-f', 'vmdk', '-c', command, child)).not.toMatch(/failed/);
    }
  });

  test('zeroed grains of qemu read as zeros and can be written', async () => {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    await qemuImage(image, 'monolithicSparse', '16M', 'zeroed_grain=on');
    await check(
      'qemu-io',
      '-f',
      'vmdk',
      '-c',
      'write -P 0x66 0 1M',
      '-c',
      'write -z 0 512k',
      image,
    );
    const { disk, unmount } = await mountImage(image);
    writeFileSync(join(folder, 'source'), Buffer.alloc(1000, 0x77));
    await check(
      'dd',
      `if=${join(folder, 'source')}`,
      `of=${disk}`,
      'oflag=seek_bytes',
      'seek=100000',
      'conv=notrunc',
      'status=none',
    );
    await unmount();
    const io = [
      'read -P 0 0 100000',
      'read -P 0x77 100000 1000',
      'read -P 0 101000 423288',
      'read -P 0x66 512k 512k',
    ];
    for (const command of io) {
      expect(await check('qemu-io', '-f', 'vmdk', '-c', command, image)).not.toMatch(/failed/);
    }
  });
});

const needsLoop = isMissing('loop devices', 'fuse', 'root', 'loop', 'ext4', 'sfdisk');

/** Attaches `disk` to a loop device for the running test. */
async function attachLoop(disk: string, ...args: readonly string[]): Promise<string> {
  const device = (await check('losetup', '--find', '--show', ...args, disk)).trim();
  onTestFinished(async () => {
    await run('losetup', ['-d', device]);
  });
  return device;
}

/** A mounted file system of the running test. */
async function mountLoop(source: string, ...options: readonly string[]): Promise<string> {
  const target = join(tempFolder(), 'ext4');
  mkdirSync(target);
  await check('mount', ...options, source, target);
  onTestFinished(async () => {
    await run('umount', ['-l', target]);
  });
  return target;
}

describe.skipIf(needsLoop)('ext4 in a loop device', () => {
  test('files survive unmounting and mounting again, and e2fsck finds nothing', async () => {
    const image = await newImage('256M');
    const first = await mountImage(image);
    const device = await attachLoop(first.disk);
    await check('mkfs.ext4', '-q', device);
    const tree = await mountLoop(device);
    await shell(
      'cp -r /usr/share/perl5 "$1/" 2>/dev/null || cp -r /usr/lib/node_modules/npm/lib "$1/"; sync "$1"',
      tree,
    );
    const sums = await shell('cd "$1" && find . -type f -exec sha256sum {} + | sort', tree);
    expect(sums.split('\n').length).toBeGreaterThan(50);
    await check('umount', tree);
    await check('losetup', '-d', device);
    await first.unmount();
    expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);

    const second = await mountImage(image);
    await check('e2fsck', '-fn', second.disk);
    const again = await mountLoop(second.disk, '-o', 'loop,ro');
    expect(await shell('cd "$1" && find . -type f -exec sha256sum {} + | sort', again)).toBe(sums);
    await check('umount', again);
    await second.unmount();
  });

  test('losetup -P and mount -o loop,offset= find partitions', async () => {
    const image = await newImage('128M');
    const { disk, unmount } = await mountImage(image);
    await shell('printf "2048,32M,L\\n,,L\\n" | sfdisk -q "$1"', disk);
    const device = await attachLoop(disk, '-P');
    const partition = `${device}p2`;
    // A kernel without support for partition tables is told by partx; without udev nobody makes nodes.
    await shell(
      '[ -e "/sys/class/block/${2#/dev/}" ] || partx -a "$1"; [ -e "$2" ] || mknod "$2" b $(tr : " " < "/sys/class/block/${2#/dev/}/dev")',
      device,
      partition,
    );
    await check('mkfs.ext4', '-q', partition);
    const tree = await mountLoop(partition);
    writeFileSync(join(tree, 'hello'), 'hello from partition 2\n');
    await check('umount', tree);
    await shell('partx -d "$1"; rm -f "$1"p[0-9]*; losetup -d "$1"', device);
    const offset = (2048 + 65536) * 512;
    const byOffset = await mountLoop(disk, '-o', `loop,offset=${offset}`);
    expect(readFileSync(join(byOffset, 'hello'), 'utf8')).toBe('hello from partition 2\n');
    await check('umount', byOffset);
    await unmount();
    expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);
  });
});
