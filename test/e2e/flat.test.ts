/** `--flat`: a file without a descriptor as a disk, of its own length and nothing else. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { mountImage } from '../helpers/mounted.js';
import { GZIP, ISO, OVF, QCOW2, TRACKING, VDI } from '../helpers/other-files.js';
import { isMissing } from '../helpers/requirements.js';
import { check, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { ext2, ntfs } from '../helpers/volume-contents.js';

const KIB = 1024;

let folder: string;

beforeEach(() => {
  folder = tempFolder();
  mkdirSync(join(folder, 'mnt'));
});

/** Puts a file into the folder, filled with zeros up to whole sectors. */
function put(name: string, content: Uint8Array | string, size?: number): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  const { length } = readFileSync(path);
  truncateSync(path, size ?? Math.ceil(length / 512) * 512);
  return path;
}

const noise = Buffer.from(Array.from({ length: 64 * KIB }, (_, index) => (index * 7919) % 251));

/** Files that are taken, and what is said of them. */
const TAKEN: readonly (readonly [name: string, content: Uint8Array, said: string])[] = [
  ['lost-flat.vmdk', noise, 'is taken as a plain disk; nothing in it says that it is a VMDK'],
  ['disk.img', ext2(64 * KIB, 'root'), 'is an ext2, ext3 or ext4 file system, and is taken'],
  ['cd.iso', ISO, 'is an ISO 9660 image (CD or DVD), and is taken as a plain disk'],
  ['sector.raw', Buffer.alloc(512, 1), 'is taken as a plain disk'],
  ['it"s a disk\n.img', noise, 'is taken as a plain disk'],
];

const REFUSED: readonly (readonly [name: string, content: Uint8Array | string, said: string])[] = [
  ['vm.qcow2', QCOW2, 'is a QCOW2 image (QEMU); '],
  ['vm.gz', GZIP, 'is a gzip file; unpack it with gunzip first'],
  ['vm.vdi', VDI, 'is a VDI image (VirtualBox); '],
  ['vm.ovf', OVF, 'is an OVF file, '],
  ['vm-ctk.vmdk', TRACKING, 'is a change tracking file, '],
  ['vm-f001.vmdk', noise, 'is by its name one part of a split disk; '],
];

describe('info, map and mount with --flat', () => {
  test.each(TAKEN)('take %j as a disk', async (name, content, said) => {
    const file = put(name, content);
    const { code, stderr, stdout } = await vmdkfs('info', '--flat', '--json', file);
    expect(code).toBe(0);
    expect(stderr).toContain(said);
    expect(JSON.parse(stdout)).toMatchObject({
      size: statSync(file).size,
      chain: [{ createType: 'flat', cid: null, extents: [{ type: 'FLAT', file }] }],
    });
    const map = await vmdkfs('map', '--flat', '--json', '--quiet', file);
    expect(map).toMatchObject({ code: 0, stderr: '' });
  });

  test.each(REFUSED)('say what %s is, and take it with --force', async (name, content, said) => {
    const file = put(name, content);
    for (const args of [
      ['info', '--flat', file],
      ['mount', '--flat', file, join(folder, 'mnt')],
    ]) {
      const { code, stderr } = await vmdkfs(...args);
      expect(code).not.toBe(0);
      expect(stderr).toContain(`${basename(file)}: ${said}`);
      expect(stderr).toMatch(/, or take its bytes as a disk with --flat --force\n$/);
    }
    const { code, stderr } = await vmdkfs('info', '--flat', '--force', file);
    expect(code).toBe(0);
    expect(stderr).toMatch(/; --force takes its bytes as a plain disk\n$/);
  });

  test('refuse a VMDK, sound or damaged, and its extents', async () => {
    const sparse = join(folder, 'disk.vmdk');
    await vmdkfs('create', sparse, '-s', '3G', '-t', 'twoGbMaxExtentSparse', '-q');
    const whole = join(folder, 'whole.vmdk');
    await vmdkfs('create', whole, '-s', '1M', '-q');
    const damaged = put('damaged.vmdk', readFileSync(whole).subarray(0, 1024));
    for (const file of [whole, damaged, join(folder, 'disk-s001.vmdk')]) {
      const { code, stderr } = await vmdkfs('info', '--flat', file);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/, or take its bytes as a disk with --flat --force\n$/);
    }
  });

  test.each([0, 1, 511, 513, 65535])(
    'refuse a file of %i bytes, also with --force',
    async (size) => {
      const file = put('odd.img', '', size);
      for (const force of [[], ['--force']]) {
        const { code, stderr } = await vmdkfs('info', '--flat', ...force, file);
        expect(code).not.toBe(0);
        expect(stderr).toMatch(
          size === 0 ? /is empty; / : /is not a multiple of 512, so it is cut off/,
        );
      }
    },
  );

  test('do not go with an overlay, and other commands do not know it', async () => {
    const file = put('disk.img', noise);
    const mountpoint = join(folder, 'mnt');
    const overlay = join(folder, 'o.vmdk');
    for (const args of [
      ['--flat', '--snapshot'],
      ['--flat', '--overlay', overlay],
      ['-o', 'flat,snapshot'],
      ['-o', `overlay=${overlay}`, '--flat'],
    ]) {
      const { code, stderr } = await vmdkfs('mount', ...args, file, mountpoint);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^vmdkfs: --flat opens a file without a descriptor, which no child/);
    }
    expect(existsSync(overlay)).toBe(false);
    for (const command of ['check', 'compact', 'commit']) {
      expect(await vmdkfs(command, '--flat', file)).toMatchObject({ code: 1 });
    }
  });

  test('is named where a -flat file has no descriptor', async () => {
    const { stderr } = await vmdkfs('info', put('lost-flat.vmdk', noise));
    expect(stderr).toContain(', or open it by itself with --flat');
  });
});

describe.skipIf(isMissing('mounts of plain files', 'fuse'))('a mount with --flat', () => {
  test('writes what is written and nothing else', async () => {
    const file = put('lost-flat.vmdk', ntfs(4 * KIB * KIB, 'data', KIB * KIB));
    const expected = readFileSync(file);
    expected.write('hello', 12_345);
    for (const args of [['--flat'], ['-o', 'flat']]) {
      const mounted = await mountImage(file, ...args);
      expect(statSync(mounted.disk).size).toBe(expected.length);
      await check(
        'sh',
        '-c',
        `printf hello | dd of="$1" bs=1 seek=12345 conv=notrunc`,
        'sh',
        mounted.disk,
      );
      await mounted.unmount();
      expect(readFileSync(file).equals(expected)).toBe(true);
    }
  });

  test('does not write past a descriptor, unless it is forced to', async () => {
    const disk = join(folder, 'disk.vmdk');
    const file = join(folder, 'disk-flat.vmdk');
    const mountpoint = join(folder, 'mnt');
    await vmdkfs('create', disk, '-s', '1M', '-t', 'monolithicFlat', '-q');
    expect(await vmdkfs('mount', '--flat', file, mountpoint)).toMatchObject({
      code: 2,
      stderr: `vmdkfs: ${file}: holds the data of the disk ${disk}, whose CID would not change with it; use that file, or only read this one with -o ro, or take its bytes as a disk with --flat --force\n`,
    });
    for (const way of ['-r', '--force']) {
      const mounted = await mountImage(file, '--flat', way);
      await mounted.unmount();
    }
  });

  test('keeps others from the file, and is kept from it', async () => {
    const file = put('disk.img', noise);
    const mounted = await mountImage(file, '--flat');
    const other = await vmdkfs('mount', '--flat', file, join(folder, 'mnt'));
    expect(other).toMatchObject({ code: 6 });
    const reader = await vmdkfs('info', '--flat', '--json', '--quiet', file);
    expect(JSON.parse(reader.stdout)).toMatchObject({ chain: [{ inUseBy: 'writer' }] });
    await mounted.unmount();
  });
});
