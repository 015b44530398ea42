/** What other writers put into fields that do not say where data is: it keeps no disk from opening. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { writeDescriptor } from '../helpers/images.js';
import { pattern } from '../helpers/made-disk.js';
import { refusal } from '../helpers/refusal.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, vmdkfs } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTORS = 64;
const CONTENT = pattern(SECTORS * 512, 3);

function flatDisk(
  folder: string,
  stem: string,
  more: Parameters<typeof writeDescriptor>[2],
): string {
  const image = join(folder, `${stem}.vmdk`);
  writeFileSync(join(folder, `${stem}-flat.vmdk`), CONTENT);
  writeDescriptor(image, [`RW ${SECTORS} FLAT "${stem}-flat.vmdk" 0`], more);
  return image;
}

/** A child without a grain of its own. */
function sparseChild(folder: string, more: Parameters<typeof writeDescriptor>[2]): string {
  const image = join(folder, 'child.vmdk');
  writeSparseFile(join(folder, 'child-s001.vmdk'), {
    sectors: SECTORS,
    grainSectors: 16,
    tableEntries: 512,
  });
  writeDescriptor(image, [`RW ${SECTORS} SPARSE "child-s001.vmdk"`], more);
  return image;
}

function contentOf(image: string, force = false): Buffer {
  const { device } = openImage(image, { readOnly: true, force });
  const content = Buffer.alloc(device.size);
  device.read(content, 0, content.length, 0);
  device.close();
  return content;
}

const CIDS = ['1234567890', '3735928559', '0x12345678', '', 'none', '12 34'];

describe('a CID that is no eight hex digits', () => {
  test.each(CIDS)('%j opens, and is eight hex digits after the first write', (cid) => {
    const image = flatDisk(tempFolder(), 'disk', { cid });
    expect(contentOf(image).equals(CONTENT)).toBe(true);
    const { device } = openImage(image, { readOnly: false });
    device.write(CONTENT, 0, 512, 512);
    device.close();
    const text = readFileSync(image, 'latin1');
    expect(text).toMatch(/^CID=[0-9a-f]{8} *\nparentCID=ffffffff\ncreateType="custom"\n/m);
    expect(
      contentOf(image).equals(
        Buffer.concat([CONTENT.subarray(0, 512), CONTENT.subarray(0, 512), CONTENT.subarray(1024)]),
      ),
    ).toBe(true);
  });

  test.each(['0', '00000000', '', '0xffffffff', '4294967295', 'nobody'])(
    'of a parent that nothing names, %j, is none',
    (parentCid) => {
      const image = flatDisk(tempFolder(), 'disk', { parentCid });
      expect(contentOf(image).equals(CONTENT)).toBe(true);
    },
  );

  test.each([
    ['1234567890', '12345678'],
    ['12345678', '1234567890'],
    ['0x1', '1'],
    ['none', 'deadbeef'],
  ])('of a parent, %j, for the CID %j cannot be compared and needs force', (parentCid, cid) => {
    const folder = tempFolder();
    flatDisk(folder, 'base', { cid });
    const child = sparseChild(folder, { parentCid, hint: 'base.vmdk' });
    expect(refusal(child, true)).toMatchObject({
      code: 'VMDK_CID_MISMATCH',
      message: expect.stringContaining('cannot be compared') as string,
    });
    expect(contentOf(child, true).equals(CONTENT)).toBe(true);
  });

  test.each(['1234567890', '0x12345678', 'text'])('written the same in both, %j, fits', (cid) => {
    const folder = tempFolder();
    flatDisk(folder, 'base', { cid });
    const child = sparseChild(folder, { parentCid: cid, hint: 'base.vmdk' });
    expect(contentOf(child).equals(CONTENT)).toBe(true);
  });

  test('is shown by check as what it is', async () => {
    const folder = tempFolder();
    flatDisk(folder, 'base', { cid: '1234567890' });
    const child = sparseChild(folder, { parentCid: '12345678', hint: 'base.vmdk' });
    const { code, stdout } = await vmdkfs('check', child);
    expect(code).toBe(5);
    expect(stdout).toContain('the CID "1234567890"; the two cannot be compared');
    const info = await vmdkfs('info', join(folder, 'base.vmdk'));
    expect(info.code).toBe(0);
    expect(info.stdout).toContain('CID:        none');
  });
});

test('a name that ends with its line, and ZERO of no sectors, are read as QEMU reads them', () => {
  const folder = tempFolder();
  const image = join(folder, 'disk.vmdk');
  writeFileSync(join(folder, 'disk-flat.vmdk'), CONTENT);
  writeDescriptor(image, ['RW 0 ZERO', `RW ${SECTORS} VMFS "disk-flat.vmdk`, 'RW 0 ZERO "x"']);
  expect(contentOf(image).equals(CONTENT)).toBe(true);
});

test('a header whose writer left the newline bytes out is read', () => {
  const folder = tempFolder();
  const image = sparseChild(folder, {});
  const file = join(folder, 'child-s001.vmdk');
  const bytes = readFileSync(file);
  bytes.fill(0, 73, 77);
  writeFileSync(file, bytes);
  expect(contentOf(image).equals(Buffer.alloc(SECTORS * 512))).toBe(true);
});

const needs = isMissing('a host file system that is read-only', 'fuse', 'root', 'unshare');

describe.skipIf(needs)('on a host file system that is read-only', () => {
  test('an image is mounted read-only, with a line that says so', async () => {
    const folder = tempFolder();
    const image = flatDisk(folder, 'disk', {});
    // A mount namespace of its own, in which the folder is read-only for everybody, root included.
    const script = `
      mount --bind "$1" "$1"
      mount -o remount,bind,ro "$1"
      mkdir "$2/mnt"
      "$3" "$4" mount "$1/disk.vmdk" "$2/mnt"
      cmp "$2/mnt/disk.raw" "$1/disk-flat.vmdk"
      findmnt -no OPTIONS "$2/mnt" | grep -qw ro
      "$3" "$4" unmount "$2/mnt"
    `;
    const other = tempFolder();
    const args = ['-m', '--propagation', 'private', 'sh', '-euc', script, 'sh'];
    const outcome = await run('unshare', [...args, folder, other, process.execPath, CLI]);
    expect(outcome.stderr).toBe(
      `vmdkfs: ${image}: its file system on the host is read-only; opened read-only\n`,
    );
    expect(outcome.code).toBe(0);
  });
});
