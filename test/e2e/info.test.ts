/** What `vmdkfs info` says of partitions and of who uses an image; text and JSON. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { newImage } from '../helpers/images.js';
import { mountImage } from '../helpers/mounted.js';
import { putDosTable, putGpt } from '../helpers/partition-tables.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs } from '../helpers/run.js';
import { ext2, luks, swap } from '../helpers/volume-contents.js';

const MIB = 1024 * 1024;

let image: string;

beforeEach(async () => {
  image = await newImage('8M');
});

/** Puts `disk`, what the image is to hold, into it. */
function fill(disk: Buffer): void {
  const { device } = openImage(image, { readOnly: false });
  device.write(disk, 0, disk.length, 0);
  device.close();
}

async function info(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const { code, ...output } = await vmdkfs('info', image, ...args);
  expect(code).toBe(0);
  return output;
}

describe('partitions', () => {
  test('of a DOS table are shown with what mounts them', async () => {
    const disk = Buffer.alloc(8 * MIB);
    putDosTable(disk, 0, [
      { type: 0x83, start: 2048, sectors: 4096, indicator: 0x80 },
      { type: 0x05, start: 8192, sectors: 8192 },
      { type: 0x99, start: 6144, sectors: 5000 },
    ]);
    putDosTable(disk, 8192, [{ type: 0x07, start: 2048, sectors: 2048 }]);
    ext2(2 * MIB, 'root').copy(disk, MIB);
    swap(64 * 1024).copy(disk, 6144 * 512);
    fill(disk);
    const { stderr, stdout } = await info();
    expect(stderr).toBe('vmdkfs: partition table: partitions 3 and 5 overlap\n');
    expect(await info('--quiet')).toEqual({ stdout, stderr: '' });
    expect(stdout.slice(stdout.indexOf('partitions:')).split('\n')).toEqual([
      'partitions: DOS, MNT being where the image is mounted',
      '    1:  Linux, 2 MiB (2097152 bytes) at byte 1048576, bootable, holds ext2 labelled "root"',
      '        mount -o loop MNT/p1.raw DIR',
      '        mount -o loop,offset=1048576,sizelimit=2097152 MNT/disk.raw DIR',
      '    2:  Extended, 4 MiB (4194304 bytes) at byte 4194304',
      '    3:  unknown (0x99), 2.441 MiB (2560000 bytes) at byte 3145728, holds swap space',
      '    5:  HPFS/NTFS/exFAT, 1 MiB (1048576 bytes) at byte 5242880, holds nothing that blkid knows',
      '',
    ]);
    const json = JSON.parse((await info('--json')).stdout) as unknown;
    expect(json).toMatchObject({
      partitionTable: 'dos',
      partitions: [
        {
          ...{ number: 1, start: MIB, size: 2 * MIB, type: '0x83', bootable: true, file: 'p1.raw' },
          content: { type: 'ext2', usage: 'filesystem', version: '1.0', label: 'root', uuid: null },
        },
        { number: 2, typeName: 'Extended', label: null, bootable: false, file: null },
        { number: 3, file: 'p3.raw', content: { type: 'swap', usage: 'other' } },
        { number: 5, file: 'p5.raw', content: null },
      ],
    });
    expect(json).not.toHaveProperty('content');
    expect(json).not.toHaveProperty('partitions.1.content');
  });

  test('of a GPT are shown with their labels, and control characters not at all', async () => {
    const disk = Buffer.alloc(8 * MIB);
    const type = '0FC63DAF-8483-4772-8E79-3D69D8477DE4';
    putGpt(disk, [{ number: 3, type, first: 2048, last: 4095, label: 'my \u001b[31m root' }]);
    disk[512] = 0;
    fill(disk);
    const { stderr, stdout } = await info();
    expect(stderr).toBe(
      'vmdkfs: partition table: the first GPT is damaged; the one at the end of the disk is used\n',
    );
    expect(stdout).toContain(
      '\n    3:  Linux filesystem, "my \\u001b[31m root", 1 MiB (1048576 bytes) at byte 1048576, holds',
    );
    expect(JSON.parse((await info('--json')).stdout)).toMatchObject({
      partitionTable: 'gpt',
      partitions: [{ number: 3, type, label: 'my \u001b[31m root' }],
    });
  });

  test('are not mentioned where there is no table', async () => {
    expect((await info()).stdout).not.toContain('partitions');
    expect(JSON.parse((await info('--json')).stdout)).toMatchObject({
      partitionTable: null,
      partitions: [],
      content: null,
    });
  });

  test('are none where the whole disk is a volume, which is shown', async () => {
    fill(luks(8 * MIB));
    const { stdout } = await info();
    expect(stdout.slice(stdout.indexOf('partitions:')).split('\n')).toEqual([
      'partitions: none, the disk holds LUKS encryption, MNT being where the image is mounted',
      '        cryptsetup open MNT/disk.raw NAME   # then: mount /dev/mapper/NAME DIR',
      '',
    ]);
    const json = JSON.parse((await info('--json')).stdout) as unknown;
    expect(json).toMatchObject({ content: { type: 'crypto_LUKS', usage: 'crypto' } });
  });

  test.skipIf(isMissing('info without blkid', 'root', 'unshare'))(
    'go by their types where blkid is not installed',
    async () => {
      const disk = Buffer.alloc(8 * MIB);
      putDosTable(disk, 0, [
        { type: 0x83, start: 2048, sectors: 4096 },
        { type: 0x8e, start: 8192, sectors: 4096 },
      ]);
      fill(disk);
      const hide =
        'mount --bind /dev/null "$(command -v blkid || echo /usr/sbin/blkid)"; exec "$@"';
      const args = ['-m', '--propagation', 'private', 'sh', '-c', hide, 'sh'];
      const { code, stdout } = await run('unshare', [
        ...args,
        process.execPath,
        CLI,
        'info',
        image,
      ]);
      expect(code).toBe(0);
      expect(stdout.slice(stdout.indexOf('partitions:')).split('\n')).toEqual([
        'partitions: DOS, MNT being where the image is mounted',
        '    1:  Linux, 2 MiB (2097152 bytes) at byte 1048576',
        '        mount -o loop MNT/p1.raw DIR',
        '        mount -o loop,offset=1048576,sizelimit=2097152 MNT/disk.raw DIR',
        '    2:  Linux LVM, 2 MiB (2097152 bytes) at byte 4194304',
        '',
      ]);
    },
  );
});

describe('sizes', () => {
  const linesOf = async (): Promise<string[]> =>
    (await info()).stdout.split('\n').filter((line) => /^(size|allocated|takes up):/.test(line));

  test('of the disk, of what is allocated of it, and of the file are shown', async () => {
    const size = 'size:       8 MiB (8388608 bytes)';
    const onHost = expect.stringMatching(
      /^takes up: {3}[1-9][^\n]* bytes\) on the host$/,
    ) as string;
    expect(await linesOf()).toEqual([size, 'allocated:  0 bytes', onHost]);
    fill(Buffer.alloc(65536, 1));
    const grain = 'allocated:  64 KiB (65536 bytes), 1 % of the disk';
    expect(await linesOf()).toEqual([size, grain, onHost]);
    fill(Buffer.alloc(2 * MIB, 1));
    const quarter = 'allocated:  2 MiB (2097152 bytes), 25 % of the disk';
    expect(await linesOf()).toEqual([size, quarter, onHost]);
  });

  test('of split images are those of all their files', async () => {
    image = join(image, '..', 'split.vmdk');
    const args = ['-s', '5G', '-t', 'twoGbMaxExtentFlat'];
    expect((await vmdkfs('create', image, ...args)).code).toBe(0);
    fill(Buffer.alloc(4096, 1));
    const { chain } = JSON.parse((await info('--json')).stdout) as {
      chain: [{ extents: { fileAllocated: number }[] }];
    };
    const bytes = chain[0].extents.map(({ fileAllocated }) => fileAllocated);
    expect(bytes.length).toBeGreaterThan(1);
    const sum = bytes.reduce((one, other) => one + other, 0);
    expect((await linesOf())[2]).toContain(`(${sum} bytes) on the host`);
    expect((await linesOf())[1]).toMatch(/, less than 1 % of the disk$/);
  });
});

describe('the use of an image', () => {
  const useOf = async (): Promise<unknown> =>
    (JSON.parse((await info('--json')).stdout) as { chain: unknown[] }).chain[0];

  test.skipIf(isMissing('use by a mount', 'fuse'))('by a mount is shown', async () => {
    expect(await useOf()).toMatchObject({ inUseBy: null, vmwareMark: null });
    expect((await info()).stdout).not.toContain('in use');
    const writing = await mountImage(image);
    expect(await useOf()).toMatchObject({ inUseBy: 'writer' });
    expect((await info()).stdout).toMatch(/^in use: {5}another program .* for writing$/m);
    // Its mark of an image that is not closed is no news then; in a copy it is.
    await writeFile(writing.disk, 'x', { flag: 'r+' });
    expect(await useOf()).toMatchObject({ uncleanShutdown: true });
    expect((await info()).stdout).not.toContain('closed');
    await copyFile(image, `${image}.copy`);
    expect((await vmdkfs('info', `${image}.copy`)).stdout).toMatch(
      /^state: {6}was not closed cleanly$/m,
    );
    await writing.unmount();
    const reading = await mountImage(image, '-o', 'ro');
    expect(await useOf()).toMatchObject({ inUseBy: 'reader' });
    expect((await info()).stdout).toMatch(/^in use: {5}another program .* reads it$/m);
    await reading.unmount();
    expect(await useOf()).toMatchObject({ inUseBy: null });
  });

  test('by VMware is shown as its mark', async () => {
    mkdirSync(`${image}.lck`);
    writeFileSync(join(`${image}.lck`, 'M12345.lck'), '');
    expect(await useOf()).toMatchObject({ vmwareMark: join(`${image}.lck`, 'M12345.lck') });
    expect((await info()).stdout).toMatch(/^in use: {5}marked by VMware \(.*M12345\.lck\)$/m);
  });
});
