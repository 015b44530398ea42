import { describe, expect, test } from 'vitest';
import { looksLikeDescriptor, parseDescriptor } from '../../../src/vmdk/descriptor.js';
import { decodeFileName } from '../../../src/vmdk/file-names.js';
import {
  DESCRIPTOR_SECTORS,
  formatNewDescriptor,
  type NewDisk,
} from '../../../src/vmdk/new-descriptor.js';

const GIB = 2 ** 30;

const DISK: NewDisk = {
  subformat: 'monolithicSparse',
  extents: [{ size: 10 * GIB, fileName: 'disk.vmdk' }],
  cid: 0x077161c8,
  parentCid: undefined,
  parentFileNameHint: undefined,
  adapter: 'lsilogic',
  geometry: { cylinders: 1305, heads: 255, sectors: 63 },
  longContentPrefix: '0123456789abcdef01234567',
  virtualBoxLines: [],
};

/** The disk in a file of another name. */
function named(fileName: string): NewDisk {
  return { ...DISK, extents: [{ size: 10 * GIB, fileName }] };
}

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

  test.each([
    ['monolithicFlat', 'RW 3 FLAT "a.vmdk" 0'],
    ['twoGbMaxExtentSparse', 'RW 3 SPARSE "a.vmdk"'],
    ['twoGbMaxExtentFlat', 'RW 3 FLAT "a.vmdk" 0'],
    ['vmfs', 'RW 3 VMFS "a.vmdk"'],
    ['vmfsThin', 'RW 3 VMFS "a.vmdk"'],
    ['vmfsSparse', 'RW 3 VMFSSPARSE "a.vmdk"'],
    ['seSparse', 'RW 3 SESPARSE "a.vmdk"'],
  ] as const)('writes the extent lines of %s', (subformat, line) => {
    const extents = [
      { size: 3 * 512, fileName: 'a.vmdk' },
      { size: 512, fileName: 'b.vmdk' },
    ];
    const lines = formatNewDescriptor({ ...DISK, subformat, extents }).split('\n');
    expect(lines[5]).toBe(`createType="${subformat}"`);
    expect(lines[8]).toBe(line);
    expect(lines[9]).toBe(line.replace('3', '1').replace('a.vmdk', 'b.vmdk'));
    expect(lines[10]).toBe('');
  });

  test('says what else is known of a disk', () => {
    const lineOf = (disk: NewDisk, key: string) =>
      formatNewDescriptor(disk)
        .split('\n')
        .find((line) => line.startsWith(key));
    expect(lineOf({ ...DISK, adapter: 'legacyESX' }, 'ddb.adapterType')).toBe(
      'ddb.adapterType = "legacyESX"',
    );
    expect(lineOf({ ...DISK, subformat: 'vmfsThin' }, 'ddb.thin')).toBe(
      'ddb.thinProvisioned = "1"',
    );
    expect(lineOf({ ...DISK, subformat: 'seSparse' }, 'ddb.grain')).toBe('ddb.grain = "8"');
    expect(lineOf(DISK, 'ddb.thin')).toBeUndefined();
  });

  test('is a descriptor that fits the sectors reserved for it', () => {
    const text = formatNewDescriptor(named(`${'x'.repeat(250)}.vmdk`));
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
    const descriptor = reread(named(fileName));
    expect(decodeFileName(descriptor.extents[0]?.fileName ?? '', descriptor)).toBe(fileName);
  });
});
