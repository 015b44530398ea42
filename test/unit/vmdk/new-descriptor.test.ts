import { describe, expect, test } from 'vitest';
import {
  decodeFileName,
  looksLikeDescriptor,
  parseDescriptor,
} from '../../../src/vmdk/descriptor.js';
import {
  DESCRIPTOR_SECTORS,
  formatNewDescriptor,
  type NewDisk,
} from '../../../src/vmdk/new-descriptor.js';

const GIB = 2 ** 30;

const DISK: NewDisk = {
  size: 10 * GIB,
  cid: 0x077161c8,
  parentCid: undefined,
  parentFileNameHint: undefined,
  fileName: 'disk.vmdk',
  longContentPrefix: '0123456789abcdef01234567',
};

/** Formats, and parses what would be in the file. */
function reread(disk: NewDisk) {
  return parseDescriptor(Buffer.from(formatNewDescriptor(disk)).toString('latin1'), 'disk.vmdk');
}

describe('formatNewDescriptor', () => {
  test('writes a disk without a parent as VMware does', () => {
    expect(formatNewDescriptor(DISK)).toBe(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=077161c8
parentCID=ffffffff
createType="monolithicSparse"

# Extent description
RW 20971520 SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "1305"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.longContentID = "0123456789abcdef01234567077161c8"
ddb.virtualHWVersion = "4"
`);
  });

  test('names the parent of a child', () => {
    const child = { ...DISK, parentCid: 0xabc, parentFileNameHint: '../base/base.vmdk' };
    const lines = formatNewDescriptor(child).split('\n');
    expect(lines.slice(4, 8)).toEqual([
      'parentCID=00000abc',
      'createType="monolithicSparse"',
      'parentFileNameHint="../base/base.vmdk"',
      '',
    ]);
    expect(reread(child)).toMatchObject({
      parentCid: 0xabc,
      parentFileNameHint: '../base/base.vmdk',
    });
  });

  test('gives a tiny disk one cylinder', () => {
    const lines = formatNewDescriptor({ ...DISK, size: 512 }).split('\n');
    expect(lines).toContain('RW 1 SPARSE "disk.vmdk"');
    expect(lines).toContain('ddb.geometry.cylinders = "1"');
  });

  test('is a descriptor that fits the sectors reserved for it', () => {
    const text = formatNewDescriptor({ ...DISK, fileName: `${'x'.repeat(250)}.vmdk` });
    expect(looksLikeDescriptor(text)).toBe(true);
    expect(DESCRIPTOR_SECTORS).toBe(20);
    expect(Buffer.byteLength(text)).toBeLessThan(20 * 512);
  });

  test('is read back as it was meant', () => {
    expect(reread(DISK)).toMatchObject({
      cid: 0x077161c8,
      parentCid: undefined,
      parentFileNameHint: undefined,
      createType: 'monolithicSparse',
      isEncrypted: false,
      changeTrackPath: undefined,
      extents: [{ access: 'RW', size: 10 * GIB, type: 'SPARSE', fileName: 'disk.vmdk' }],
    });
  });

  test('keeps a name in any script', () => {
    const fileName = 'Gro\u00df \u30c6\u30b9\u30c8 \u{1f4be}.vmdk';
    const descriptor = reread({ ...DISK, fileName });
    expect(decodeFileName(descriptor.extents[0]?.fileName ?? '', descriptor)).toBe(fileName);
  });
});
