import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { newLayout } from '../../../src/vmdk/layout.js';
import {
  decodeSparseHeader,
  encodeSparseHeader,
  SparseExtentHeader,
  type SparseHeader,
} from '../../../src/vmdk/sparse-extent-header.js';
import { VmdkError } from '../../../src/vmdk/vmdk-error.js';
import { littleEndian } from '../../helpers/poke.js';
import { isMissing } from '../../helpers/requirements.js';
import { check } from '../../helpers/run.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const SECTOR = 512;
const MIB = 1024 * 1024;

/** The header of a 10 GiB disk as VMware Workstation writes it. */
const VMWARE_10_GIB = Buffer.concat(
  [
    Buffer.from([
      ...[0x4b, 0x44, 0x4d, 0x56, 0x01, 0x00, 0x00, 0x00], // magicNumber "KDMV", version
      ...[0x03, 0x00, 0x00, 0x00], // flags: newline test, redundant tables
      ...[0x00, 0x00, 0x40, 0x01, 0x00, 0x00, 0x00, 0x00], // capacity 20971520
      ...[0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // grainSize 128
      ...[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // descriptorOffset
      ...[0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // descriptorSize 20
      ...[0x00, 0x02, 0x00, 0x00], // numGTEsPerGT 512
      ...[0x15, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // rgdOffset 21
      ...[0x18, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // gdOffset 1304
      ...[0x80, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // overHead 2688
      ...[0x00, 0x0a, 0x20, 0x0d, 0x0a, 0x00, 0x00], // clean, "\n \r\n", not compressed
    ]),
  ],
  SECTOR,
);

/** Decodes VMware's header with `value` in `size` bytes at each `offset`. */
function decodeWith(
  ...changes: readonly [offset: number, size: 1 | 2 | 4 | 8, value: number | bigint][]
): SparseHeader {
  const sector = Buffer.from(VMWARE_10_GIB);
  for (const [offset, size, value] of changes) sector.set(littleEndian(value, size), offset);
  return decodeSparseHeader(sector, 'disk.vmdk');
}

describe('SparseExtentHeader', () => {
  test('has its fields where Virtual Disk Format 5.0 has them', () => {
    const { byteLength, ...fields } = SparseExtentHeader;
    const offsets = Object.entries(fields).map(([name, { offset }]) => `${offset} ${name}`);
    expect(offsets).toEqual([
      ...['0 magicNumber', '4 version', '8 flags', '12 capacity', '20 grainSize'],
      ...['28 descriptorOffset', '36 descriptorSize', '44 numGTEsPerGT', '48 rgdOffset'],
      ...['56 gdOffset', '64 overHead', '72 uncleanShutdown', '73 singleEndLineChar'],
      ...['74 nonEndLineChar', '75 doubleEndLineChar1', '76 doubleEndLineChar2'],
      ...['77 compressAlgorithm', '79 pad'],
    ]);
    expect(fields.pad.size).toBe(433);
    expect(byteLength).toBe(512);
  });
});

describe('decodeSparseHeader', () => {
  test('reads a header of VMware', () => {
    expect(decodeWith()).toEqual({
      version: 1,
      flags: 3,
      capacity: 10 * 1024 * MIB,
      grainBytes: 65536,
      tableEntries: 512,
      descriptorOffset: SECTOR,
      descriptorBytes: 20 * SECTOR,
      rgdOffset: 21 * SECTOR,
      gdOffset: 1304 * SECTOR,
      overHead: 2688 * SECTOR,
      uncleanShutdown: false,
      isCompressed: false,
      hasMarkers: false,
      isDirectoryAtEnd: false,
      hasZeroedGrains: false,
      hasRedundant: true,
      unknownFlags: 0,
    });
  });

  test('reads from where its sector begins in a larger buffer', () => {
    const file = Buffer.concat([Buffer.alloc(3, 0xff), VMWARE_10_GIB]);
    expect(decodeSparseHeader(file.subarray(3), 'disk.vmdk')).toEqual(decodeWith());
  });

  test('tells flags and versions apart', () => {
    expect(decodeWith([72, 1, 1])).toMatchObject({ uncleanShutdown: true });
    expect(decodeWith([8, 4, 0x1])).toMatchObject({ hasRedundant: false });
    const deflate: [number, 2, number] = [77, 2, 1];
    const stream = { isCompressed: true, hasMarkers: true, isDirectoryAtEnd: false };
    expect(decodeWith([8, 4, 0x30001], deflate)).toMatchObject(stream);
    expect(decodeWith([8, 4, 0x10001], deflate)).toMatchObject({ ...stream, hasMarkers: false });
    const atEnd: [number, 8, bigint] = [56, 8, 0xffff_ffff_ffff_ffffn];
    expect(decodeWith([8, 4, 0x30001], deflate, atEnd)).toMatchObject({ isDirectoryAtEnd: true });
    expect(() => decodeWith([8, 4, 0x30001])).toThrow(/compressed in a way that is not known/);
    expect(decodeWith([8, 4, 0x7])).toMatchObject({ hasZeroedGrains: false });
    expect(decodeWith([8, 4, 0x7], [4, 4, 2])).toMatchObject({ hasZeroedGrains: true });
    expect(decodeWith([8, 4, 0x3], [4, 4, 3])).toMatchObject({ hasZeroedGrains: false });
    expect(decodeWith([8, 4, 0x8103])).toMatchObject({ unknownFlags: 0x8100 });
  });

  test('has no descriptor where its offset is 0, whatever its size', () => {
    const header = decodeWith([28, 8, 0], [36, 8, 2n ** 40n]);
    expect(header).toMatchObject({ descriptorOffset: 0, descriptorBytes: 0 });
  });

  test('looks at the newline test only where the flags say that it is there', () => {
    expect(decodeWith([8, 4, 0x2], [73, 4, 0])).toMatchObject({ flags: 2 });
  });

  test('accepts the limits themselves', () => {
    expect(decodeWith([12, 8, 2n ** 44n - 1n]).capacity).toBe(Number.MAX_SAFE_INTEGER - 511);
    expect(decodeWith([12, 8, 0]).capacity).toBe(0);
    expect(decodeWith([20, 8, 1]).grainBytes).toBe(SECTOR);
    expect(decodeWith([20, 8, 2048]).grainBytes).toBe(MIB);
    expect(decodeWith([44, 4, 128]).tableEntries).toBe(128);
    expect(decodeWith([36, 8, 2048]).descriptorBytes).toBe(MIB);
  });

  test.each([
    ['another magic', [0, 4, 0x12345678], 'VMDK_NOT_VMDK', 'no KDMV magic'],
    ['zeros', [0, 4, 0], 'VMDK_NOT_VMDK', 'no KDMV magic'],
    ['a magic in lower case', [0, 4, 0x766d646b], 'VMDK_INCOMPLETE', 'still being written'],
    ['version 0', [4, 4, 0], 'VMDK_BAD_VERSION', 'header version 0 is'],
    ['version 4', [4, 4, 4], 'VMDK_BAD_VERSION', 'header version 4 is'],
    ['flag 31', [8, 4, 0x80000003], 'VMDK_BAD_FLAGS', 'not known (0x80000000)'],
    ['flag 18', [8, 4, 0x70003], 'VMDK_BAD_FLAGS', 'not known (0x40000)'],
    ['a lost CR', [75, 1, 0x0a], 'VMDK_BAD_NEWLINES', '0a 20 0a 0a (0a 20 0d 0a expected)'],
    ['a doubled LF', [73, 4, 0x0d200a0d], 'VMDK_BAD_NEWLINES', 'are 0d 0a 20 0d ('],
    ['2^44 sectors', [12, 8, 2n ** 44n], 'VMDK_BAD_CAPACITY', 'capacity 17592186044416 sectors'],
    ['2^64 - 1 sectors', [12, 8, 2n ** 64n - 1n], 'VMDK_BAD_CAPACITY', 'is out of range'],
    ['grain size 0', [20, 8, 0], 'VMDK_BAD_GRAIN_SIZE', 'grain size 0 sectors'],
    ['grain size 3', [20, 8, 3], 'VMDK_BAD_GRAIN_SIZE', 'grain size 3 sectors'],
    ['grain size 2^22', [20, 8, 2 ** 22], 'VMDK_BAD_GRAIN_SIZE', 'grain size 4194304 sectors'],
    ['grain size 2^32 + 128', [20, 8, 2 ** 32 + 128], 'VMDK_BAD_GRAIN_SIZE', '4294967424 sectors'],
    ['tables of 0', [44, 4, 0], 'VMDK_BAD_TABLE_SIZE', '0 entries'],
    ['tables of 96', [44, 4, 96], 'VMDK_BAD_TABLE_SIZE', '96 entries'],
    ['tables of 1024', [44, 4, 1024], 'VMDK_BAD_TABLE_SIZE', '1024 entries'],
    ['tables of 500', [44, 4, 500], 'VMDK_BAD_TABLE_SIZE', '500 entries'],
    ['a descriptor of 0', [36, 8, 0], 'VMDK_BAD_DESCRIPTOR', 'is 0 bytes long'],
    ['a descriptor of 2049', [36, 8, 2049], 'VMDK_BAD_DESCRIPTOR', 'is 1049088 bytes long'],
  ] as const)('refuses %s', (_name, [offset, size, value], code, words) => {
    const decode = () => decodeWith([offset, size, value]);
    expect(decode).toThrow(VmdkError);
    expect(decode).toThrow(expect.objectContaining({ code, file: 'disk.vmdk' }));
    expect(decode).toThrow(words);
    expect(decode).toThrow(/^disk\.vmdk: /);
  });
});

describe('encodeSparseHeader', () => {
  test('writes what VMware writes, byte by byte', () => {
    const geometry = { capacity: 10 * 1024 * MIB, grainBytes: 65536, tableEntries: 512 };
    const sector = encodeSparseHeader(geometry, newLayout(geometry, 20 * SECTOR));
    expect(Buffer.from(sector).toString('hex')).toBe(VMWARE_10_GIB.toString('hex'));
  });
});

const QEMU = 'headers by qemu-img';
describe.skipIf(isMissing(QEMU, 'qemu'))(QEMU, () => {
  /** The first sector of an image made by qemu-img. */
  async function qemuHeader(bytes: number): Promise<Buffer> {
    const path = join(tempFolder(), 'disk.vmdk');
    await check('qemu-img', 'create', '-q', '-f', 'vmdk', path, String(bytes));
    return readFileSync(path).subarray(0, SECTOR);
  }

  test('decode', async () => {
    expect(decodeSparseHeader(await qemuHeader(512 * MIB), 'disk.vmdk')).toMatchObject({
      version: 1,
      flags: 3,
      capacity: 512 * MIB,
      grainBytes: 65536,
      tableEntries: 512,
      descriptorOffset: SECTOR,
      descriptorBytes: 20 * SECTOR,
      rgdOffset: 21 * SECTOR,
      gdOffset: 86 * SECTOR,
      overHead: 256 * SECTOR,
      uncleanShutdown: false,
      isCompressed: false,
      hasRedundant: true,
    });
  });

  test.each([SECTOR, MIB + SECTOR, 32 * MIB, 32 * MIB + SECTOR, 8192 * MIB, 10_000 * MIB])(
    'are what we write for a disk of %d bytes, field by field',
    async (capacity) => {
      const theirs = await qemuHeader(capacity);
      const geometry = { capacity, grainBytes: 65536, tableEntries: 512 };
      const ours = Buffer.from(encodeSparseHeader(geometry, newLayout(geometry, 20 * SECTOR)));
      const numbers = (sector: Buffer) => ({
        ids: [0, 4, 8, 44].map((offset) => sector.readUInt32LE(offset)),
        sectors: [12, 20, 28, 36, 48, 56, 64].map((offset) => sector.readBigUInt64LE(offset)),
        rest: sector.subarray(72).toString('hex'),
      });
      expect(numbers(ours)).toEqual(numbers(theirs));
      expect(decodeSparseHeader(theirs, 'disk.vmdk').capacity).toBe(capacity);
    },
  );
});
