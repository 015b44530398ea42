import { describe, expect, test } from 'vitest';
import {
  COWD_MAGICNUMBER,
  COWD_SECTORS_MAX,
  COWD_TABLE_ENTRIES,
  CowdHeader,
  CowdRoot,
  decodeCowdHeader,
  encodeCowdHeader,
  newCowdBytes,
  type CowdExtentHeader,
} from '../../../src/vmdk/cowd-header.js';
import { VmdkError } from '../../../src/vmdk/vmdk-error.js';
import { littleEndian } from '../../helpers/poke.js';

const SECTOR = 512;
const GIB = 2 ** 30;

/** The header of a child of 8 GiB as ESX writes it: 4096 tables of 2 MiB. */
const ESX_8_GIB = Buffer.concat(
  [
    Buffer.from([
      ...[0x43, 0x4f, 0x57, 0x44, 0x01, 0x00, 0x00, 0x00], // magicNumber "COWD", version
      ...[0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01], // flags, numSectors 16777216
      ...[0x01, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00], // grainSize, gdOffset
      ...[0x00, 0x10, 0x00, 0x00, 0x24, 0x00, 0x00, 0x00], // numGDEntries 4096, freeSector 36
      ...[0x62, 0x61, 0x73, 0x65, 0x2e, 0x76, 0x6d, 0x64, 0x6b, 0x00], // parentFileName "base.vmdk"
    ]),
  ],
  2048,
);

type Change = readonly [offset: number, value: number];

/** Decodes ESX's header with a u32 at each `offset`. */
function decodeWith(...changes: readonly Change[]): CowdExtentHeader {
  const header = Buffer.from(ESX_8_GIB);
  for (const [offset, value] of changes) header.set(littleEndian(value, 4), offset);
  return decodeCowdHeader(header, 'x-delta.vmdk');
}

describe('CowdHeader', () => {
  test('has its fields where Virtual Disk Format 5.0 has them', () => {
    const { byteLength, ...fields } = CowdHeader;
    const offsets = Object.entries(fields).map(([name, { offset }]) => `${offset} ${name}`);
    expect(offsets).toEqual([
      ...['0 magicNumber', '4 version', '8 flags', '12 numSectors', '16 grainSize', '20 gdOffset'],
      ...['24 numGDEntries', '28 freeSector', '32 parentFileName', '1056 parentGeneration'],
      ...['1060 generation', '1064 name', '1124 description', '1636 savedGeneration'],
      ...['1640 reserved', '1648 uncleanShutdown', '1652 padding'],
    ]);
    expect(byteLength).toBe(2048);
    expect([CowdRoot.cylinders, CowdRoot.heads, CowdRoot.sectors]).toMatchObject([
      { offset: 0 },
      { offset: 4 },
      { offset: 8 },
    ]);
  });
});

describe('decodeCowdHeader', () => {
  test('is for files that begin with the magic', () => {
    expect(ESX_8_GIB.readUInt32LE(0)).toBe(COWD_MAGICNUMBER);
  });

  test('reads a header of ESX', () => {
    expect(decodeWith()).toEqual({
      version: 1,
      flags: 3,
      capacity: 8 * GIB,
      grainBytes: SECTOR,
      tableEntries: 4096,
      gdOffset: 4 * SECTOR,
      tableCount: 4096,
      directoryBytes: 16384,
      freeOffset: 36 * SECTOR,
      isUnclean: false,
      parentFileName: 'base.vmdk',
    });
  });

  test('takes the free sector as it finds it', () => {
    expect(decodeWith([28, 0xffffffff]).freeOffset).toBe(0xffffffff * SECTOR);
    expect(decodeWith([28, 0]).freeOffset).toBe(0);
  });

  test('takes flags that it does not know, and any mark of an unclean end', () => {
    expect(decodeWith([8, 0x80000103]).flags).toBe(0x80000103);
    expect(decodeWith([1648, 1])).toMatchObject({ isUnclean: true });
  });

  test('tells the geometry of a root from the name of a parent', () => {
    expect(decodeWith([32, 267349], [36, 255], [40, 63]).parentFileName).toBeUndefined();
    expect(decodeWith([32, 0]).parentFileName).toBeUndefined();
  });

  test('reads a parent that fills its field', () => {
    const header = Buffer.from(ESX_8_GIB).fill(0xe9, 32, 32 + 1024);
    expect(decodeCowdHeader(header, 'x').parentFileName).toBe('\u00e9'.repeat(1024));
  });

  test('needs no more tables than the capacity has, though the directory is larger', () => {
    const header = decodeWith([12, 4097], [24, 200]);
    expect(header).toMatchObject({ tableCount: 2, directoryBytes: 1024 });
    expect(decodeWith([12, COWD_SECTORS_MAX], [16, 2048], [24, 0xffffffff]).tableCount).toBe(512);
  });

  test.each([
    ['another magic', [0, 0x44574f44], 'VMDK_NOT_VMDK', 'no COWD magic'],
    ['version 0', [4, 0], 'VMDK_BAD_VERSION', 'version 0 is not known (1 expected)'],
    ['version 2', [4, 2], 'VMDK_BAD_VERSION', 'version 2 is'],
    ['no sectors', [12, 0], 'VMDK_BAD_CAPACITY', 'capacity 0 sectors'],
    ['grain size 0', [16, 0], 'VMDK_BAD_GRAIN_SIZE', 'grain size 0 sectors'],
    ['grain size 3', [16, 3], 'VMDK_BAD_GRAIN_SIZE', 'grain size 3 sectors'],
    ['grain size 2^22', [16, 2 ** 22], 'VMDK_BAD_GRAIN_SIZE', 'from 1 to 2097152'],
    ['a directory at 0', [20, 0], 'VMDK_BAD_DIRECTORY', 'at offset 0'],
    ['an entry too few', [24, 4095], 'VMDK_BAD_DIRECTORY', '4095 entries (at least 4096 expected)'],
    ['a sector too many', [12, 16777217], 'VMDK_BAD_DIRECTORY', '(at least 4097 expected)'],
  ] as const)('refuses %s', (_name, change, code, words) => {
    const decode = () => decodeWith(change);
    expect(decode).toThrow(VmdkError);
    expect(decode).toThrow(expect.objectContaining({ code, file: 'x-delta.vmdk' }));
    expect(decode).toThrow(words);
  });
});

describe('encodeCowdHeader', () => {
  test('writes a child as ESX does', () => {
    const header = encodeCowdHeader({
      capacity: 8 * GIB,
      grainBytes: SECTOR,
      origin: { parentFileName: Buffer.from('base.vmdk') },
    });
    expect(Buffer.from(header)).toEqual(ESX_8_GIB);
    expect(newCowdBytes(8 * GIB, SECTOR)).toBe(36 * SECTOR);
  });

  test('writes a root with its geometry', () => {
    const header = encodeCowdHeader({
      capacity: SECTOR,
      grainBytes: SECTOR,
      origin: { geometry: { cylinders: 5, heads: 64, sectors: 32 } },
    });
    expect([...header.subarray(12, 48)]).toEqual([
      ...[1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0],
      ...[5, 0, 0, 0, 64, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0],
    ]);
    expect(decodeCowdHeader(header, 'x')).toMatchObject({
      capacity: SECTOR,
      tableEntries: COWD_TABLE_ENTRIES,
      parentFileName: undefined,
    });
  });

  test('cuts a name that does not fit, and ends it', () => {
    const origin = { parentFileName: Buffer.alloc(2000, 'x') };
    const header = encodeCowdHeader({ capacity: SECTOR, grainBytes: SECTOR, origin });
    expect(decodeCowdHeader(header, 'x').parentFileName).toBe('x'.repeat(1023));
  });
});
