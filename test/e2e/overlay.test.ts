/** Overlays and snapshots on real mounts: what is written is there, and the image stays as it is. */
import { mkdirSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { serveInForeground } from '../helpers/foreground.js';
import { writeRandom } from '../helpers/disk-writing.js';
import { hashes } from '../helpers/hashes.js';
import { newImage } from '../helpers/images.js';
import { mountImage } from '../helpers/mounted.js';
import { asNobody } from '../helpers/nobody.js';
import { inOverlay, writeData } from '../helpers/overlays.js';
import { filledImage } from '../helpers/refusal.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, shell, vmdkfs, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

// Many mounts in one test.
vi.setConfig({ testTimeout: 600_000 });

/** An image of 64 MiB with an ext4 file system in it, and the same bytes in a raw file. */
async function ext4Image(subformat: string): Promise<{ image: string; raw: string }> {
  const folder = tempFolder();
  const [image, raw] = [join(folder, 'disk.vmdk'), join(folder, 'raw')];
  await shell(
    `truncate -s 64M "$1"; mkdir "$3"; cp -r /etc/ssl "$3"; mkfs.ext4 -q -d "$3" "$1"
     qemu-img convert -f raw -O vmdk -o subformat="$4" "$1" "$2"`,
    ...[raw, image, join(folder, 'files'), subformat],
  );
  return { image, raw };
}

/** Runs a shell line in the root of the ext4 file system on `disk`, in a loop device. */
function inLoop(disk: string, line: string): Promise<string> {
  return shell(
    `d=$(mktemp -d); mount -o loop "$1" "$d"; trap 'umount "$d"; rmdir "$d"' EXIT; cd "$d"; ${line}; cd /`,
    disk,
  );
}

describe.skipIf(isMissing('overlays', 'fuse', 'qemu'))('mount --overlay', () => {
  test('keeps what is written in a child that QEMU reads too', async () => {
    const { folder, image } = filledImage();
    const [overlay, copy] = [join(folder, 'overlay.vmdk'), join(folder, 'copy')];
    const before = hashes([image]);
    const mounted = await mountImage(image, '--overlay', overlay);
    await writeRandom(mounted.disk, 3, 2);
    await check('cp', '--sparse=always', mounted.disk, copy);
    await mounted.unmount();
    expect(hashes([image])).toEqual(before);
    await check('qemu-img', 'compare', '-f', 'raw', '-F', 'vmdk', copy, overlay);
    expect(await check('qemu-img', 'check', overlay)).toMatch(/No errors/);
    expect(await check('qemu-img', 'info', overlay)).toMatch(/^backing file: disk\.vmdk/m);
  });

  test('is used again, changed or not, over both transports', async () => {
    const { folder, image } = filledImage();
    const [overlay, copy] = [join(folder, 'overlay.vmdk'), join(folder, 'copy')];
    inOverlay(image, overlay, writeData);
    await check('qemu-img', 'convert', '-f', 'vmdk', '-O', 'raw', overlay, copy);
    // By the name that fstab has for it, with the writeback cache.
    const again = await mountImage(image, '-o', `overlay=${overlay},writeback_cache`);
    // The disk was changed when the overlay was.
    const changed = statSync(overlay).mtimeMs;
    expect(Math.abs(statSync(again.disk).mtimeMs - changed)).toBeLessThan(10);
    await check('cmp', copy, again.disk);
    for (const file of [copy, again.disk]) {
      await shell('printf hello | dd of="$1" bs=1 seek=5000000 conv=notrunc,fsync 2>&1', file);
    }
    await again.unmount();
    // Under another overlay, over libfuse, it is the image that stays as it is.
    const both = hashes([image, overlay]);
    const second = join(folder, 'second.vmdk');
    const third = await mountImage(overlay, '--overlay', second, '--transport', 'libfuse');
    await check('cmp', copy, third.disk);
    await writeRandom(third.disk, 1, 9);
    await third.unmount();
    expect(hashes([image, overlay])).toEqual(both);
    const shown = await mountImage(image, '-o', 'ro', '--overlay', overlay);
    await check('cmp', copy, shown.disk);
    expect((await run('dd', ['if=/dev/zero', `of=${shown.disk}`, 'count=1'])).stderr).toMatch(
      /Read-only file system/,
    );
    await shown.unmount();
    expect(hashes([image, overlay])).toEqual(both);
  });

  test('in a folder of its own says who finds the image from there', async () => {
    const image = await newImage('8M');
    const overlay = join(tempFolder(), 'overlay.vmdk');
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    onTestFinished(async () => {
      await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
    });
    const made = await vmdkfs('mount', image, mountpoint, '--overlay', overlay);
    expect(made).toMatchObject({ code: 0, stdout: '' });
    expect(made.stderr).toMatch(
      /^vmdkfs: .*overlay\.vmdk: its parent .*disk\.vmdk lies outside its folder; .*--allow-outside\n$/,
    );
    await writeRandom(join(mountpoint, 'disk.raw'), 1, 1);
    expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
    expect(await check('qemu-img', 'check', overlay)).toMatch(/No errors/);
    expect(await vmdkfs('mount', image, mountpoint, '--overlay', overlay)).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect((await vmdkfs('unmount', mountpoint)).code).toBe(0);
  });
});

const loopNeeds = isMissing(
  'overlays on what cannot be written',
  'fuse',
  'root',
  'loop',
  'ext4',
  'qemu',
);
describe.skipIf(loopNeeds)('an overlay makes writable', () => {
  test('a streamOptimized image, by itself and inside an OVA', async () => {
    const { image, raw } = await ext4Image('streamOptimized');
    const folder = dirname(image);
    const ova = join(folder, 'appliance.ova');
    await check('tar', '-C', folder, '--format=ustar', '-cf', ova, 'disk.vmdk');
    const before = hashes([image, ova]);
    const overlay = join(folder, 'overlay.vmdk');
    const first = await mountImage(image, '--overlay', overlay);
    await check('cmp', raw, first.disk);
    await inLoop(first.disk, 'head -c 9000000 /dev/urandom > random; md5sum random > sum');
    await first.unmount();
    const second = await mountImage(image, '--overlay', overlay);
    expect(await inLoop(second.disk, 'md5sum -c sum')).toContain('random: OK');
    await second.unmount();
    expect(hashes([image, ova])).toEqual(before);
    expect(await check('qemu-img', 'check', overlay)).toMatch(/No errors/);
    const copy = join(folder, 'copy');
    await check('qemu-img', 'convert', '-f', 'vmdk', '-O', 'raw', overlay, copy);
    await check('e2fsck', '-fn', copy);

    // The disk in the archive is the same parent: what was written lies over it too.
    const third = await mountImage(ova, '-o', `disk=1,overlay=${overlay}`);
    expect(await inLoop(third.disk, 'md5sum -c sum; rm random')).toContain('random: OK');
    await third.unmount();
    const fourth = await mountImage(ova, '--snapshot', '--disk', 'disk.vmdk');
    await check('cmp', raw, fourth.disk);
    await check('mkfs.ext4', '-q', '-F', fourth.disk);
    expect(await inLoop(fourth.disk, 'ls')).toBe('lost+found\n');
    await fourth.unmount();
    expect(hashes([image, ova])).toEqual(before);
  });

  test('an image on a file system that is mounted read-only', async () => {
    const { image, raw } = await ext4Image('monolithicSparse');
    const folder = dirname(image);
    const [host, place] = [join(folder, 'host'), join(folder, 'place')];
    for (const each of [host, place, join(folder, 'in')]) mkdirSync(each);
    onTestFinished(async () => {
      await run('umount', ['-l', host]);
    });
    await shell(
      `cp --sparse=always "$1/disk.vmdk" "$1/in"; truncate -s 100M "$1/ext4"
       mkfs.ext4 -q -d "$1/in" "$1/ext4"; mount -o loop,ro "$1/ext4" "$1/host"`,
      folder,
    );
    const away = join(host, 'disk.vmdk');
    const mountpoint = join(place, 'mnt');
    mkdirSync(mountpoint);
    const plain = await vmdkfs('mount', away, mountpoint);
    expect(plain.code).toBe(0);
    expect(plain.stderr).toContain('its file system on the host is read-only; opened read-only');
    await check(process.execPath, CLI, 'unmount', mountpoint);
    const before = hashes([away]);
    for (const args of [['--overlay', join(place, 'overlay.vmdk')], ['--snapshot']]) {
      const { disk, unmount } = await mountImage(away, ...args);
      await check('cmp', raw, disk);
      await inLoop(disk, 'mkdir new; cp -r ssl new');
      expect(await inLoop(disk, 'ls')).toMatch(/^lost\+found\nnew\nssl\n$/);
      await unmount();
    }
    expect(hashes([away])).toEqual(before);
    expect(readdirSync(place).sort()).toEqual(['mnt', 'overlay.vmdk']);
  });
});

describe.skipIf(isMissing('overlays of a user', 'fuse', 'root', 'setpriv', 'unshare'))(
  'a user who may only read the image',
  () => {
    test('writes through an overlay and a snapshot, and is left nothing by a mount that fails', async () => {
      const image = await newImage('16M');
      const folder = dirname(image);
      await shell('chmod 755 "$1"; chmod 444 "$1/disk.vmdk"; mkdir "$1/own" "$1/own/mnt"', folder);
      await check('chown', '-R', '65534:65534', join(folder, 'own'));
      const before = hashes([image]);
      const own = join(folder, 'own');
      const [mountpoint, overlay] = [join(own, 'mnt'), join(own, 'overlay.vmdk')];
      const there = (...args: readonly string[]): Promise<Outcome> =>
        asNobody('env', `TMPDIR=${own}`, process.execPath, CLI, ...args);
      // Found out only when it is mounted, and the overlay is there.
      const other = ['-o', 'allow_other'];
      const failed = await there('mount', image, mountpoint, '--overlay', overlay, ...other);
      expect(failed).toMatchObject({ code: 3, stdout: '' });
      expect(failed.stderr).toMatch(/user_allow_other/);
      expect(readdirSync(own)).toEqual(['mnt']);
      const script = [
        `node="${process.execPath}"; cli="${CLI}"; TMPDIR="$3"; export TMPDIR`,
        '"$node" "$cli" mount --overlay "$4" "$1" "$2"',
        'printf hello | dd of="$2/disk.raw" bs=1 seek=100000 conv=notrunc status=none',
        '"$node" "$cli" unmount "$2"',
        '"$node" "$cli" mount -o "overlay=$4" "$1" "$2"',
        'dd if="$2/disk.raw" bs=1 skip=100000 count=5 status=none',
        '"$node" "$cli" unmount "$2"',
        '"$node" "$cli" mount --snapshot "$1" "$2"',
        'printf 12345 | dd of="$2/disk.raw" bs=1 seek=100000 conv=notrunc,fsync status=none',
        'dd if="$2/disk.raw" bs=1 skip=100000 count=5 status=none',
        'ls "$3"',
        '"$node" "$cli" unmount "$2"',
      ].join('\n');
      const outcome = await asNobody('sh', '-euc', script, 'sh', image, mountpoint, own, overlay);
      expect(outcome).toEqual({
        code: 0,
        stdout: 'hello12345mnt\noverlay.vmdk\n',
        stderr: expect.stringMatching(
          /^vmdkfs: .*overlay\.vmdk: its parent .* lies outside its folder; .*\n$/,
        ) as string,
      });
      const kept = hashes([overlay]);
      await there('mount', image, mountpoint, '--overlay', overlay, ...other);
      expect(hashes([overlay, image])).toEqual([...kept, ...before]);
    });
  },
);

describe.skipIf(isMissing('a full TMPDIR', 'fuse', 'root'))('a snapshot in a full TMPDIR', () => {
  test('gives ENOSPC to the writer and goes on', async () => {
    const image = await newImage('64M');
    const before = hashes([image]);
    const temporary = join(tempFolder(), 'tmp');
    mkdirSync(temporary);
    await check('mount', '-t', 'tmpfs', '-o', 'size=4M', 'none', temporary);
    onTestFinished(async () => {
      await run('umount', ['-l', temporary]);
    });
    const filler = join(temporary, 'filler');
    writeFileSync(filler, Buffer.alloc(2 * MIB));
    const server = await serveInForeground(image, ['--snapshot'], ['env', `TMPDIR=${temporary}`]);
    const rewrite = (): Promise<Outcome> =>
      run('dd', ['if=/dev/zero', `of=${server.disk}`, 'bs=1M', 'count=1', 'conv=notrunc,fsync']);
    await writeRandom(server.disk, 1, 0);
    const copy = join(tempFolder(), 'copy');
    await check('cp', '--sparse=always', server.disk, copy);
    const full = await run('dd', [
      ...['if=/dev/urandom', `of=${server.disk}`, 'bs=1M', 'count=4', 'seek=8'],
      'conv=notrunc,fsync',
    ]);
    expect(full.code).toBe(1);
    expect(full.stderr).toMatch(/No space left on device/);
    await check('cmp', '-n', String(8 * MIB), copy, server.disk);
    expect((await rewrite()).code).toBe(0);
    truncateSync(filler, 0);
    await writeRandom(server.disk, 1, 20);
    expect(readdirSync(temporary)).toEqual(['filler']);
    server.child.kill('SIGTERM');
    expect(await server.ended).toBe(0);
    expect(hashes([image])).toEqual(before);
  });
});
