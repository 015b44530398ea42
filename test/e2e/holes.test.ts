/** Holes and discards through the kernel transport, as the tools that use them see them. */
import { openSync, closeSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { pattern } from '../helpers/made-disk.js';
import { dataRanges } from '../helpers/holes.js';
import { newImage, qemuImage, writeDescriptor } from '../helpers/images.js';
import { mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run, shell } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Bytes that a file takes up on the host. */
function spaceOf(path: string): number {
  return statSync(path).blocks * 512;
}

/** Writes `count` pieces of `length` bytes, one every `step`, through the engine. */
function fill(image: string, count: number, length: number, step: number): void {
  const { device } = openImage(image, { readOnly: false });
  const piece = pattern(length, 9);
  for (let index = 0; index < count; index++) device.write(piece, 0, length, index * step);
  device.close();
}

describe.skipIf(isMissing('holes', 'fuse'))('holes of the image', () => {
  test('are what SEEK_DATA and SEEK_HOLE walk over, and du counts what is between', async () => {
    const image = await newImage('256M');
    fill(image, 8, 128 * KIB, 32 * MIB);
    const { disk } = await mountImage(image);
    const fd = openSync(disk, 'r');
    const expected = Array.from({ length: 8 }, (_, index) => [
      index * 32 * MIB,
      index * 32 * MIB + 128 * KIB,
    ]);
    expect(dataRanges(fd)).toEqual(expected);
    closeSync(fd);
    expect((await check('du', '-B1', disk)).split('\t')[0]).toBe(String(8 * 128 * KIB));
  });

  test('stay holes in copies made by cp and tar', async () => {
    const image = await newImage('512M');
    fill(image, 16, 64 * KIB, 32 * MIB);
    const { disk, mountpoint } = await mountImage(image, '-o', 'ro');
    const folder = tempFolder();
    for (const mode of ['auto', 'always']) {
      const copy = join(folder, mode);
      await check('cp', `--sparse=${mode}`, disk, copy);
      expect(spaceOf(copy)).toBe(16 * 64 * KIB);
      await check('cmp', disk, copy);
    }
    const archive = join(folder, 'disk.tar');
    await check('tar', '-S', '-C', mountpoint, '-cf', archive, 'disk.raw');
    expect(statSync(archive).size).toBeLessThan(2 * MIB);
    await check('tar', '-C', folder, '-xf', archive);
    expect(spaceOf(join(folder, 'disk.raw'))).toBeLessThan(2 * MIB);
    await check('cmp', disk, join(folder, 'disk.raw'));
  });

  test('in a plain file are those of the host', async () => {
    const folder = tempFolder();
    const image = join(folder, 'disk.vmdk');
    writeFileSync(join(folder, 'disk-flat.vmdk'), '');
    truncateSync(join(folder, 'disk-flat.vmdk'), 64 * MIB);
    writeDescriptor(image, [`RW ${(64 * MIB) / 512} FLAT "disk-flat.vmdk" 0`]);
    const { disk } = await mountImage(image);
    const before = await open(disk, 'r+');
    await before.write(pattern(MIB, 3), 0, MIB, 16 * MIB);
    await before.sync();
    expect(dataRanges(before.fd)).toEqual([[16 * MIB, 17 * MIB]]);
    expect((await before.stat()).blocks * 512).toBe(MIB);
    await before.close();
  });

  test(
    'of 1 TiB with 1 GiB in 1,000 pieces are passed over by qemu-img convert',
    { timeout: 120_000 },
    async ({ skip }) => {
      if (isMissing('convert of 1 TiB', 'qemu')) skip();
      const image = await newImage('1T');
      fill(image, 1000, MIB, 1049 * MIB);
      const { disk, pid } = await mountImage(image, '--workers', '4');
      const copy = join(tempFolder(), 'copy.raw');
      const started = performance.now();
      await check('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', disk, copy);
      const seconds = (performance.now() - started) / 1000;
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const [own, idle] = [ownMemory(status), await ownMemoryOfIdleNode(5)];
      console.log(
        `qemu-img convert of 1 TiB with 1 GiB in it: ${seconds.toFixed(1)} s; memory of the server with 4 workers: ${own.toFixed(0)} MiB, ${idle.toFixed(0)} of them Node's`,
      );
      expect(spaceOf(copy)).toBeLessThan(1001 * MIB);
      expect(spaceOf(copy)).toBeGreaterThan(999 * MIB);
      const fd = openSync(copy, 'r');
      expect(dataRanges(fd)).toHaveLength(1000);
      closeSync(fd);
      expect(own).toBeLessThan(idle + MOUNT_MIB);
    },
  );
});

/** What a mount may take beyond Node itself, which takes 44 (20), 57 (24) or 38 MiB (26). */
const MOUNT_MIB = 75;

/**
 * MiB of a process that are its own. Pages of Node's file are not: all mounts share them, and how many
 * of them were needed so far differs from version to version, by 10 MiB between 24 and 26.
 */
function ownMemory(status: string): number {
  const kib = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? NaN);
  return (kib('VmRSS') - kib('RssFile')) / KIB;
}

/** The same of a Node with as many threads as serve and flush, none of which does anything. */
async function ownMemoryOfIdleNode(threads: number): Promise<number> {
  const script = `
    const { once } = require('node:events');
    const { readFileSync } = require('node:fs');
    const { Worker } = require('node:worker_threads');
    const options = { eval: true, resourceLimits: { maxYoungGenerationSizeMb: 2 } };
    const newThread = () => new Worker('setInterval(() => {}, 1e6)', options);
    Promise.all(Array.from({ length: ${threads} }, () => once(newThread(), 'online'))).then(() => {
      console.log(readFileSync('/proc/self/status', 'utf8'));
      process.exit();
    });`;
  return ownMemory(await check(process.execPath, '-e', script));
}

describe.skipIf(isMissing('copies beside a writer', 'fuse'))('beside an open writer', () => {
  test.each([[[]], [['-o', 'writeback_cache']]])(
    'cp --sparse=auto copies the right bytes with options %j',
    async (options) => {
      const image = await newImage('64M');
      const { disk } = await mountImage(image, ...options);
      const writer = await open(disk, 'r+');
      onTestFinished(() => writer.close());
      const bytes = pattern(300 * KIB, 6);
      await writer.write(bytes, 0, bytes.length, 40 * MIB + 5);
      const copy = join(tempFolder(), 'copy');
      await check('cp', '--sparse=auto', disk, copy);
      const found = readFileSync(copy);
      expect(found.length).toBe(64 * MIB);
      expect(found.subarray(40 * MIB + 5, 40 * MIB + 5 + bytes.length).equals(bytes)).toBe(true);
      await writer.sync();
      await check('cmp', disk, copy);
    },
  );
});

describe.skipIf(isMissing('discard', 'fuse', 'root', 'loop', 'ext4'))('discards', () => {
  test('of fstrim on ext4 in a loop device free space on the host', async () => {
    const image = await newImage('256M');
    const { disk, unmount } = await mountImage(image);
    await check('mkfs.ext4', '-q', disk);
    const folder = join(tempFolder());
    const tree = join(folder, 'tree');
    const script = `
      mkdir "$2"; mount -o loop "$1" "$2"; trap 'umount "$2"' EXIT
      head -c 100M /dev/urandom > "$2/big"; head -c 1M /dev/urandom > "$2/kept"; sync
      stat -c %b "$3"; cp "$2/kept" "$4"; rm "$2/big"; sync; fstrim "$2"; sync; stat -c %b "$3"`;
    const kept = join(folder, 'kept');
    const printed = await shell(script, disk, tree, image, kept);
    const [before = 0, after = 0] = printed
      .trim()
      .split('\n')
      .map((blocks) => Number(blocks) * 512);
    console.log(`fstrim: the image took ${before / MIB} MiB, then ${after / MIB} MiB`);
    expect(before - after).toBeGreaterThan(90 * MIB);
    expect((await run('e2fsck', ['-fn', disk])).code).toBe(0);
    await unmount();
    if (!isMissing('check after fstrim', 'qemu')) {
      expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);
    }
    const again = await mountImage(image, '-o', 'ro');
    await shell(
      'mount -o loop,ro "$1" "$2"; trap \'umount "$2"\' EXIT; cmp "$2/kept" "$3"',
      again.disk,
      tree,
      kept,
    );
  });

  test('and zeroed ranges over a parent hide it', async () => {
    const folder = tempFolder();
    const base = join(folder, 'base.vmdk');
    await qemuImage(base, 'monolithicFlat', '8M');
    writeFileSync(join(folder, 'base-flat.vmdk'), pattern(8 * MIB, 2));
    const child = join(folder, 'child.vmdk');
    const { code } = await run(process.execPath, [
      new URL('../../dist/cli/main.js', import.meta.url).pathname,
      ...['create', child, '--backing', base],
    ]);
    expect(code).toBe(0);
    const { disk } = await mountImage(child);
    await check('fallocate', '--punch-hole', '-o', '100000', '-l', '300000', disk);
    const expected = pattern(8 * MIB, 2).fill(0, 100_000, 400_000);
    expect(readFileSync(disk).equals(expected)).toBe(true);
  });
});
