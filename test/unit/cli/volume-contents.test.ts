/** What is in a volume, against blkid on all of it; and what opens it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../../src/block/block-device.js';
import { describeContent, openingCommands } from '../../../src/cli/volume-commands.js';
import { VolumeContents, type Content } from '../../../src/cli/volume-contents.js';
import { isMissing, SAMPLES } from '../../helpers/requirements.js';
import { run } from '../../helpers/run.js';
import { tempFolder } from '../../helpers/temp-folder.js';
import * as volumes from '../../helpers/volume-contents.js';

const MIB = 1024 * 1024;

/** Where the volume is on its disk. */
const START = 3 * MIB + 512;

/** A disk with `volume` at `START`, and other data around it. */
function diskWith(volume: Buffer): { device: BlockDevice; count: () => number } {
  const disk = Buffer.alloc(START + volume.length + MIB, 'other data');
  volume.copy(disk, START);
  let bytes = 0;
  const device = {
    size: disk.length,
    read: (target: Uint8Array, at: number, length: number, position: number) => {
      if (position < START || position + length > START + volume.length) throw new Error('outside');
      bytes += length;
      target.set(disk.subarray(position, position + length), at);
    },
  } as unknown as BlockDevice;
  return { device, count: () => bytes };
}

function find(volume: Buffer): { content: unknown; notices: string[]; bytes: number } {
  const { count, device } = diskWith(volume);
  const contents = new VolumeContents(device);
  const notices: string[] = [];
  const content = contents.find({ start: START, size: volume.length }, 'partition 1', notices);
  contents.close();
  return { content, notices, bytes: count() };
}

/** Type and label by blkid's own reading of the whole volume; control characters and blanks as `_`. */
async function byBlkid(volume: Buffer): Promise<string[]> {
  const file = join(tempFolder(), 'volume');
  writeFileSync(file, volume);
  const { stdout } = await run('blkid', ['-p', '-o', 'udev', file]);
  const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(stdout)?.[1] ?? '';
  return ['ID_FS_TYPE', 'ID_FS_USAGE', 'ID_FS_VERSION', 'ID_FS_LABEL', 'ID_FS_UUID'].map(value);
}

function facts(content: unknown): string[] {
  const { label, type, usage, uuid, version } = content as Content;
  return [type, usage, version ?? '', (label ?? '').replaceAll(' ', '_'), uuid ?? ''];
}

/** Volumes with what names them in the middle, between what is read of every volume. */
const FAR: readonly (readonly [name: string, label: string, volume: () => Buffer])[] = [
  ['NTFS', 'a name ü', () => volumes.ntfs(32 * MIB, 'a name ü', 16 * MIB)],
  ['FAT32', 'FAR AWAY', () => volumes.fat32(48 * MIB, 'FAR AWAY', 20_000)],
  ['exFAT', 'far away', () => volumes.exfat(32 * MIB, 'far away', 16 * MIB)],
  ['HFS+', 'far away', () => volumes.hfsPlus(32 * MIB, 'far away', 16 * MIB)],
];

const NEAR: readonly (readonly [name: string, type: string, volume: () => Buffer])[] = [
  ['ext2', 'ext2', () => volumes.ext2(64 * MIB, 'per % cent \\x41')],
  ['swap', 'swap', () => volumes.swap(8 * MIB)],
  ['LUKS', 'crypto_LUKS', () => volumes.luks(8 * MIB)],
  ['BitLocker', 'BitLocker', () => volumes.bitLocker(8 * MIB)],
  [
    'RAID over ext2',
    'linux_raid_member',
    () => volumes.raidMember(volumes.ext2(64 * MIB, 'inside')),
  ],
  ['ext2 of 256 KiB', 'ext2', () => volumes.ext2(256 * 1024, 'small')],
];

describe.skipIf(isMissing('what is in a volume', 'blkid'))('what is in a volume', () => {
  test.each(FAR)('of %s has its label, wherever that is', async (_name, label, volume) => {
    const { bytes, content, notices } = find(volume());
    expect(notices).toEqual([]);
    expect(content).toMatchObject({ label });
    expect(facts(content)).toEqual(await byBlkid(volume()));
    expect(bytes).toBeLessThan(4 * MIB);
  });

  test.each(NEAR)('is told of %s', async (_name, type, volume) => {
    const { content } = find(volume());
    expect(content).toMatchObject({ type });
    const [, ...theirs] = await byBlkid(volume());
    const [, ...ours] = facts(content);
    if (type !== 'ext2') expect(ours).toEqual(theirs);
  });

  test('has the label as it is, whatever letters are in it', () => {
    const label = 'per % \\x41 ü';
    expect(find(volumes.ext2(4 * MIB, label)).content).toMatchObject({ label });
  });

  test('is null where blkid knows nothing of it', () => {
    expect(find(Buffer.alloc(8 * MIB))).toMatchObject({ content: null, notices: [] });
    expect(find(Buffer.alloc(512, 7))).toMatchObject({ content: null, notices: [] });
  });

  test('cannot be told where there are marks of several kinds', () => {
    const both = volumes.ext2(8 * MIB, 'one');
    volumes.ntfs(8 * MIB, 'two', 4 * MIB).copy(both, 0, 0, 512);
    volumes.ntfs(8 * MIB, 'two', 4 * MIB).copy(both, 4 * MIB, 4 * MIB, 5 * MIB);
    const { content, notices } = find(both);
    expect(content).toBeUndefined();
    expect(notices).toEqual([
      'partition 1: has the marks of several kinds of content (ext2, ntfs); wipefs --no-act lists them',
    ]);
  });

  test('cannot be told where the disk cannot be read, and the next is looked at', () => {
    const { device } = diskWith(volumes.swap(MIB));
    const contents = new VolumeContents(device);
    const notices: string[] = [];
    expect(contents.find({ start: 0, size: MIB }, 'partition 1', notices)).toBeUndefined();
    expect(notices).toEqual(['partition 1: what is in it cannot be told: outside']);
    const next = contents.find({ start: START, size: MIB }, 'partition 2', notices);
    expect(next).toMatchObject({ type: 'swap' });
    contents.close();
  });

  test('does not read past a header that leads nowhere', () => {
    for (const [at, value] of [
      [48, 0xff],
      [64, 0x80],
      [13, 0xff],
      [11, 0xff],
    ] as const) {
      const odd = volumes.ntfs(32 * MIB, 'x', 16 * MIB);
      odd.fill(value, at, at + 8);
      expect(find(odd).bytes).toBeLessThan(4 * MIB);
    }
    const hfs = volumes.hfsPlus(32 * MIB, 'x', 16 * MIB);
    hfs.fill(0xff, 1024 + 272, 1024 + 400);
    expect(find(hfs).bytes).toBeLessThan(4 * MIB);
  });
});

const needs = isMissing('what is in the samples', 'blkid', 'samples');
const FOLDER = join(SAMPLES, 'volumes/fs');

describe.skipIf(needs)('what is in a volume made by other tools', () => {
  test.each(needs ? [] : readdirSync(FOLDER))('is told as blkid tells it: %s', async (name) => {
    const volume = gunzipSync(readFileSync(join(FOLDER, name)));
    const { content, notices } = find(volume);
    expect(notices).toEqual([]);
    expect(facts(content)).toEqual(await byBlkid(volume));
  });
});

describe('what opens a volume', () => {
  const range = { start: 512, size: 1024 };
  const content = (type: string, usage: string, version: string | null = null): Content => {
    return { type, usage, version, label: null, uuid: null };
  };
  const commands = (what: Content | null | undefined, typeName = 'Linux'): readonly string[] =>
    openingCommands(what, typeName, { file: 'p2.raw', range });

  test.each([
    ['LVM2_member', 'raid'],
    ['LVM1_member', 'raid'],
    ['crypto_LUKS', 'crypto'],
    ['BitLocker', 'crypto'],
    ['linux_raid_member', 'raid'],
    ['isw_raid_member', 'raid'],
    ['zfs_member', 'filesystem'],
    ['VMFS_volume_member', 'raid'],
    ['swap', 'other'],
    ['swsuspend', 'other'],
    ['drbd', 'other'],
  ])('is no mount of the file with %s in it', (type, usage) => {
    for (const line of commands(content(type, usage))) expect(line).not.toMatch(/^mount /);
  });

  test('is mount for a file system, of the file or of its place on the disk', () => {
    expect(commands(content('ext4', 'filesystem'))).toEqual([
      'mount -o loop MNT/p2.raw DIR',
      'mount -o loop,offset=512,sizelimit=1024 MNT/disk.raw DIR',
    ]);
    expect(commands(undefined)).toEqual(commands(content('ext4', 'filesystem')));
  });

  test.each([
    ['ntfs', null, 'mount -t ntfs3 -o loop MNT/p2.raw DIR'],
    ['ufs', '1', 'mount -t ufs -o ro,loop,ufstype=44bsd MNT/p2.raw DIR'],
    ['ufs', '2', 'mount -t ufs -o ro,loop,ufstype=ufs2 MNT/p2.raw DIR'],
    ['apfs', null, 'apfs-fuse MNT/p2.raw DIR'],
    ['crypto_LUKS', '2', 'cryptsetup open MNT/p2.raw NAME   # then: mount /dev/mapper/NAME DIR'],
  ])('is fitting for %s %s', (type, version, line) => {
    expect(commands(content(type, 'filesystem', version))).toEqual([line]);
  });

  test('is nothing where nothing is known to be in it, or its type says so', () => {
    expect(commands(null)).toEqual([]);
    const names = ['Linux LVM', 'Linux swap', 'Linux RAID', 'Linux LUKS', 'FreeBSD ZFS'];
    for (const name of names) expect(commands(undefined, name)).toEqual([]);
  });

  test('is told with what it is', () => {
    expect(describeContent(undefined)).toEqual([]);
    expect(describeContent(null)).toEqual(['holds nothing that blkid knows']);
    const labelled = { ...content('LVM2_member', 'raid'), label: 'a\u001b"b' };
    expect(describeContent(labelled)).toEqual([
      'holds an LVM physical volume labelled "a\\u001b\\"b"',
    ]);
  });
});
