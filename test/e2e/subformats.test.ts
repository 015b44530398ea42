/** Subformats beyond the hosted ones on real mounts, with QEMU and loop devices as second opinions. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { inspectCowdFile } from '../helpers/cowd-file.js';
import { newImage, qemuImage, writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { writeOva } from '../helpers/ova-file.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, shell, vmdkfs, type Outcome } from '../helpers/run.js';
import { inspectSeSparseFile } from '../helpers/sesparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

/** A raw file with text, random bytes and holes, and a streamOptimized image of it. */
async function stream(): Promise<{ raw: string; image: string }> {
  const folder = tempFolder();
  const [raw, image] = [join(folder, 'raw'), join(folder, 'disk.vmdk')];
  await shell(
    `{ seq 1 200000; head -c 3000000 /dev/urandom; } > "$1"
     truncate -s 40M "$1"; seq 1 90000 >> "$1"; truncate -s 64M "$1"
     qemu-img convert -f raw -O vmdk -o subformat=streamOptimized "$1" "$2"`,
    raw,
    image,
  );
  return { raw, image };
}

async function tryMount(
  image: string,
  ...options: readonly string[]
): Promise<Outcome & { disk: string }> {
  const mountpoint = join(tempFolder(), 'mnt');
  mkdirSync(mountpoint);
  onTestFinished(async () => {
    if (isMountedAt(mountpoint)) await vmdkfs('unmount', mountpoint);
  });
  const outcome = await vmdkfs('mount', image, mountpoint, ...options);
  return { ...outcome, disk: join(mountpoint, 'disk.raw') };
}

describe.skipIf(isMissing('streamOptimized', 'fuse', 'qemu'))('a streamOptimized image', () => {
  test('is mounted read-only, and one line says why', async () => {
    const { image, raw } = await stream();
    const { code, disk, stderr } = await tryMount(image);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `vmdkfs: ${image}: it is streamOptimized: compressed grains cannot be changed in place; opened read-only\n`,
    });
    await check('cmp', raw, disk);
    expect((await run('dd', ['if=/dev/zero', `of=${disk}`, 'count=1'])).stderr).toMatch(
      /Read-only file system/,
    );
    expect(await tryMount(image, '--quiet')).toMatchObject({ code: 0, stdout: '', stderr: '' });
    const quiet = await tryMount(image, '-o', 'ro');
    expect(quiet).toMatchObject({ code: 0, stderr: '' });
    // Holes are found, so a sparse copy is one.
    const copy = join(tempFolder(), 'copy');
    await check('cp', '--sparse=auto', quiet.disk, copy);
    await check('cmp', raw, copy);
    const used = Number((await check('stat', '-c', '%b', copy)).trim()) * 512;
    expect(used).toBeLessThan(16 * MIB);
  });

  test('over libfuse, and under a writable child', async () => {
    const { image, raw } = await stream();
    const libfuse = await mountImage(image, '--transport', 'libfuse');
    await check('cmp', raw, libfuse.disk);
    await libfuse.unmount();
    const before = readFileSync(image);
    const child = join(dirname(image), 'child.vmdk');
    expect((await vmdkfs('create', child, '--backing', image)).code).toBe(0);
    const { disk, unmount } = await mountImage(child);
    for (const file of [disk, raw]) {
      await check('dd', 'if=/etc/passwd', `of=${file}`, 'bs=777', 'seek=999', 'conv=notrunc');
    }
    await check('cmp', raw, disk);
    await unmount();
    expect(readFileSync(image).equals(before)).toBe(true);
  });
});

const WRITABLE = ['vmfsSparse', 'seSparse'] as const;
const NEEDS = isMissing('ESX subformats', 'fuse', 'root', 'loop', 'ext4', 'qemu');
describe.skipIf(NEEDS)('a delta of ESX', () => {
  test.each(WRITABLE)('%s: ext4 in a loop device, over a parent', async (subformat) => {
    const folder = tempFolder();
    const base = join(folder, 'base.vmdk');
    await qemuImage(base, 'monolithicSparse', '64M');
    const first = await mountImage(base);
    await check('mkfs.ext4', '-q', first.disk);
    await first.unmount();
    const image = join(folder, 'disk.vmdk');
    const made = await vmdkfs('create', image, '--backing', base, '--subformat', subformat);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const inLoop = (disk: string, line: string): Promise<string> =>
      shell(
        `d=$(mktemp -d); mount -o loop "$1" "$d"; trap 'umount "$d"; rmdir "$d"' EXIT; cd "$d"; ${line}; cd /`,
        disk,
      );
    const second = await mountImage(image);
    await inLoop(
      second.disk,
      'cp -r /etc/ssl . && head -c 9000000 /dev/urandom > random && md5sum random > sum',
    );
    await second.unmount();
    const third = await mountImage(image);
    expect(await inLoop(third.disk, 'md5sum -c sum')).toContain('random: OK');
    await third.unmount();
    const raw = join(folder, 'raw');
    await check('qemu-img', 'convert', '-f', 'vmdk', '-O', 'raw', image, raw);
    await check('e2fsck', '-fn', raw);
    const fourth = await mountImage(image, '-r');
    await check('cmp', raw, fourth.disk);
    const problems =
      subformat === 'seSparse'
        ? inspectSeSparseFile(join(folder, 'disk-sesparse.vmdk')).problems
        : inspectCowdFile(join(folder, 'disk-delta.vmdk')).problems;
    expect(problems).toEqual([]);
  });
});

describe.skipIf(isMissing('OVA', 'fuse'))('an OVA', () => {
  test('shows the disk that was asked for, read-only', async () => {
    const folder = tempFolder();
    const bytes = pattern(MIB, 9);
    const descriptor = join(folder, 'd.vmdk');
    writeDescriptor(descriptor, [`RW ${MIB / 512} FLAT "data.bin" 0`]);
    const sparse = readFileSync(await newImage('2M'));
    const ova = join(folder, 'appliance.ova');
    writeOva(ova, [
      { name: 'appliance.ovf', bytes: Buffer.from('<Envelope/>') },
      { name: 'system.vmdk', bytes: sparse },
      { name: 'data.vmdk', bytes: readFileSync(descriptor) },
      { name: 'data.bin', bytes },
    ]);
    const undecided = await tryMount(ova);
    expect(undecided.code).toBe(1);
    expect(undecided.stderr).toContain('has 2 disks: 1 system.vmdk, 2 data.vmdk; choose one');
    const named = await tryMount(ova, '--disk', 'data.vmdk');
    expect(named.code).toBe(0);
    expect(named.stderr).toContain('it is inside an archive; opened read-only');
    expect(readFileSync(named.disk).equals(bytes)).toBe(true);
    const numbered = await tryMount(ova, '-o', 'ro,disk=1');
    expect(numbered).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(numbered.disk).equals(Buffer.alloc(2 * MIB))).toBe(true);
    expect((await tryMount(ova, '--disk', '3')).code).toBe(1);
    const info = await vmdkfs('info', ova);
    expect(info.stdout).toMatch(/disk: +1 system\.vmdk\n.*\n.*2 MiB[^]*disk: +2 data\.vmdk/);
    const json = JSON.parse((await vmdkfs('info', ova, '--json')).stdout) as { disks: unknown[] };
    expect(json.disks).toMatchObject([{ disk: 'system.vmdk' }, { disk: 'data.vmdk', size: MIB }]);
  });
});

describe.skipIf(isMissing('permissions', 'fuse'))('what has to be allowed', () => {
  test('a parent outside the folder', async () => {
    const base = await newImage('1M');
    const child = join(tempFolder(), 'child.vmdk');
    const made = await vmdkfs('create', child, '--backing', base);
    expect(made.stderr).toMatch(/mounting .* will need --allow-outside/);
    const refused = await tryMount(child);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain(base);
    expect(refused.stderr).toContain('--allow-outside');
    expect((await tryMount(child, '-o', 'allow_outside')).code).toBe(0);
    expect((await vmdkfs('info', child)).code).toBe(2);
    expect((await vmdkfs('info', child, '--allow-outside')).code).toBe(0);
  });

  test('a parent that was modified', async () => {
    const base = await newImage('1M');
    const child = join(dirname(base), 'child.vmdk');
    await vmdkfs('create', child, '--backing', base);
    const { disk, unmount } = await mountImage(base);
    writeFileSync(disk, 'changed', { flag: 'r+' });
    await unmount();
    const refused = await tryMount(child);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/expects parent CID [0-9a-f]{8}, but .* has CID [0-9a-f]{8}/);
    const forced = await tryMount(child, '--force');
    expect(forced.code).toBe(0);
    expect(forced.stderr).toContain('going on all the same');
  });

  test('writing to an image whose changes are tracked', async () => {
    const image = await newImage('1M');
    const folder = dirname(image);
    const extent = join(folder, 'extent.vmdk');
    renameSync(image, extent);
    writeDescriptor(image, [`RW 2048 SPARSE "${basename(extent)}"`]);
    const tracked = readFileSync(image, 'latin1')
      .replace('version=1', 'version=3')
      .concat('# Change Tracking File\nchangeTrackPath="disk-ctk.vmdk"\n');
    writeFileSync(image, tracked);
    const refused = await tryMount(image);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--drop-change-tracking');
    const { disk, unmount } = await mountImage(image, '--drop-change-tracking');
    expect(readFileSync(image, 'latin1')).toBe(tracked);
    writeFileSync(disk, 'changed', { flag: 'r+' });
    await unmount();
    const text = readFileSync(image, 'latin1');
    expect(text).toMatch(/^version=1$/m);
    expect(text).not.toContain('changeTrackPath');
    await mountImage(image);
  });
});
