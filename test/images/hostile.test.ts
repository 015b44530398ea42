import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeError } from '../../src/errno.js';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { SparseExtentHeader } from '../../src/vmdk/sparse-extent-header.js';
import { VmdkError, type VmdkErrorCode } from '../../src/vmdk/vmdk-error.js';
import { writeDescriptor } from '../helpers/images.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { check } from '../helpers/run.js';

const SECTOR = 512;
const MIB = 1024 * 1024;

/** The error of opening `path`, which has to fail with one, and leave the file as it was. */
function refusal(path: string, readOnly: boolean): VmdkError {
  const before = hash(path);
  try {
    openImage(path, { readOnly }).device.close();
  } catch (error) {
    expect(hash(path)).toBe(before);
    if (error instanceof VmdkError) return error;
    throw error;
  }
  throw new Error(`${path} was opened`);
}

function hash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  createImage(image, { size: 64 * MIB, backing: undefined });
  const { device } = openImage(image, { readOnly: false });
  device.write(Buffer.alloc(3 * MIB, 7), 0, 3 * MIB, 5 * MIB);
  device.close();
});

const header = SparseExtentHeader;

/** Field, its size in bytes, the value poked, and the code that opening for writing ends with. */
const FIELDS: readonly [
  string,
  { offset: number },
  1 | 2 | 4 | 8,
  number | bigint,
  VmdkErrorCode,
][] = [
  ['magicNumber', header.magicNumber, 4, 0x12345678, 'VMDK_NOT_VMDK'],
  ['magicNumber in lower case', header.magicNumber, 4, 0x766d646b, 'VMDK_INCOMPLETE'],
  ['version 0', header.version, 4, 0, 'VMDK_BAD_VERSION'],
  ['version 4', header.version, 4, 4, 'VMDK_BAD_VERSION'],
  ['version 3 without compression', header.version, 4, 3, 'VMDK_READ_ONLY'],
  ['flags with an unknown high bit', header.flags, 4, 0x80000003, 'VMDK_BAD_FLAGS'],
  ['flags with an unknown low bit', header.flags, 4, 0x103, 'VMDK_READ_ONLY'],
  ['flags of a compressed extent', header.flags, 4, 0x30003, 'VMDK_UNSUPPORTED'],
  ['capacity of 2^60 sectors', header.capacity, 8, 2n ** 60n, 'VMDK_BAD_CAPACITY'],
  ['capacity of 2^43 sectors', header.capacity, 8, 2n ** 43n, 'VMDK_BAD_CAPACITY'],
  ['capacity of 2^36 sectors', header.capacity, 8, 2n ** 36n, 'VMDK_BAD_DIRECTORY'],
  ['capacity below the extent line', header.capacity, 8, 1024, 'VMDK_BAD_CAPACITY'],
  ['grainSize 0', header.grainSize, 8, 0, 'VMDK_BAD_GRAIN_SIZE'],
  ['grainSize 3', header.grainSize, 8, 3, 'VMDK_BAD_GRAIN_SIZE'],
  ['grainSize 4096', header.grainSize, 8, 4096, 'VMDK_BAD_GRAIN_SIZE'],
  ['grainSize 2^63', header.grainSize, 8, 2n ** 63n, 'VMDK_BAD_GRAIN_SIZE'],
  ['descriptorOffset past the end', header.descriptorOffset, 8, 2 ** 40, 'VMDK_TRUNCATED'],
  ['descriptorOffset at a table', header.descriptorOffset, 8, 26, 'VMDK_BAD_DESCRIPTOR'],
  ['descriptorOffset 0', header.descriptorOffset, 8, 0, 'VMDK_NO_DESCRIPTOR'],
  ['descriptorSize 0', header.descriptorSize, 8, 0, 'VMDK_BAD_DESCRIPTOR'],
  ['descriptorSize 2^40', header.descriptorSize, 8, 2 ** 40, 'VMDK_BAD_DESCRIPTOR'],
  ['numGTEsPerGT 0', header.numGTEsPerGT, 4, 0, 'VMDK_BAD_TABLE_SIZE'],
  ['numGTEsPerGT 511', header.numGTEsPerGT, 4, 511, 'VMDK_BAD_TABLE_SIZE'],
  ['numGTEsPerGT 2^31', header.numGTEsPerGT, 4, 2 ** 31, 'VMDK_BAD_TABLE_SIZE'],
  ['rgdOffset past the end', header.rgdOffset, 8, 2 ** 40, 'VMDK_BAD_DIRECTORY'],
  ['rgdOffset 0', header.rgdOffset, 8, 0, 'VMDK_BAD_DIRECTORY'],
  ['gdOffset past the end', header.gdOffset, 8, 2 ** 40, 'VMDK_BAD_DIRECTORY'],
  ['gdOffset over the header', header.gdOffset, 8, 0, 'VMDK_BAD_DIRECTORY'],
  ['gdOffset over the descriptor', header.gdOffset, 8, 3, 'VMDK_BAD_DIRECTORY'],
  ['overHead past the end', header.overHead, 8, 2 ** 40, 'VMDK_TRUNCATED'],
  ['newline test', header.doubleEndLineChar1, 1, 0x0a, 'VMDK_BAD_NEWLINES'],
];

describe('a header with a field out of range', () => {
  test.each(FIELDS)('%s is refused', (_name, field, size, value, code) => {
    poke(image, field.offset, littleEndian(value, size));
    expect(refusal(image, false)).toMatchObject({ code });
  });
});

describe('a directory or table that cannot be right', () => {
  /** Offset of the first entry of a directory, and of the first table. */
  function places(directory: 'gdOffset' | 'rgdOffset'): { directory: number; table: number } {
    const start = Number(peek(image, header[directory].offset, 8).readBigUInt64LE()) * SECTOR;
    return { directory: start, table: peek(image, start, 4).readUInt32LE() * SECTOR };
  }

  test.each([
    ['past the end', 0x7fffffff],
    ['over the header', 1],
    ['over the descriptor', 2],
  ])('a primary entry %s forbids writing, and is read through the other', (_name, sector) => {
    poke(image, places('gdOffset').directory, littleEndian(sector, 4));
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_BAD_DIRECTORY' });
    const { device } = openImage(image, { readOnly: true });
    const bytes = Buffer.alloc(3 * MIB);
    device.read(bytes, 0, bytes.length, 5 * MIB);
    expect(bytes.equals(Buffer.alloc(3 * MIB, 7))).toBe(true);
    device.close();
  });

  test('entries of both directories past the end are refused also for reading', () => {
    poke(image, places('gdOffset').directory, littleEndian(0x7fffffff, 4));
    poke(image, places('rgdOffset').directory, littleEndian(0x7fffffff, 4));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_BAD_DIRECTORY' });
  });

  test('two primary entries for one table forbid writing', () => {
    const { directory, table } = places('gdOffset');
    poke(image, directory + 4, littleEndian(table / SECTOR, 4));
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_BAD_DIRECTORY' });
  });

  test('a damaged redundant entry is never written through, and the primary serves', () => {
    const { directory } = places('rgdOffset');
    poke(image, directory, littleEndian(1, 4));
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(MIB, 9), 0, MIB, 20 * MIB);
    device.close();
    expect(peek(image, directory, 4).readUInt32LE()).toBe(1);
    expect(peek(image, 0, 4).toString()).toBe('KDMV');
    const again = openImage(image, { readOnly: true }).device;
    const bytes = Buffer.alloc(MIB);
    again.read(bytes, 0, MIB, 20 * MIB);
    expect(bytes.equals(Buffer.alloc(MIB, 9))).toBe(true);
    again.close();
  });

  test('a redundant entry of 0 beside a table gets a table, never the header (QEMU writes there)', () => {
    const { directory } = places('rgdOffset');
    poke(image, directory, littleEndian(0, 4));
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(MIB, 9), 0, MIB, 20 * MIB);
    device.close();
    expect(peek(image, 0, 4).toString()).toBe('KDMV');
    const table = peek(image, directory, 4).readUInt32LE() * SECTOR;
    expect(table).toBeGreaterThan(0);
    const primary = places('gdOffset').table;
    expect(peek(image, table, 2048).equals(peek(image, primary, 2048))).toBe(true);
  });

  test('a grain past the end of the file is refused', () => {
    poke(image, places('gdOffset').table, littleEndian(0x7fffffff, 4));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_TRUNCATED' });
  });

  test('a grain over the metadata is refused', () => {
    poke(image, places('gdOffset').table, littleEndian(2, 4));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_BAD_GRAIN' });
  });

  test('an entry of 1 reads as zeros, not as sector 1', () => {
    const grain = 5 * 16;
    poke(image, places('gdOffset').table + grain * 4, littleEndian(1, 4));
    const { device } = openImage(image, { readOnly: true });
    const bytes = Buffer.alloc(65536, 1);
    device.read(bytes, 0, bytes.length, 5 * MIB);
    expect(bytes.equals(Buffer.alloc(65536))).toBe(true);
    device.close();
  });
});

describe('files that are no image', () => {
  test.each([0, 3, 100, 511, 600, 2000, 20000, 70000, 65536 + 128, 65536 * 20])(
    'an image cut to %i bytes is refused',
    (length) => {
      truncateSync(image, length);
      expect([
        'VMDK_TRUNCATED',
        'VMDK_NOT_VMDK',
        'VMDK_BAD_DIRECTORY',
        'VMDK_BAD_DESCRIPTOR',
      ]).toContain(refusal(image, true).code);
    },
  );

  test('a directory is refused', () => {
    expect(() => openImage(folder, { readOnly: true })).toThrow(/is a directory/);
  });

  test('text and random bytes are refused', () => {
    writeFileSync(image, 'hello\n');
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_VMDK' });
    writeFileSync(image, Buffer.alloc(2 * MIB, 0xa5));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_VMDK' });
  });

  test('a FIFO and a device are refused without being opened', async () => {
    const fifo = join(folder, 'fifo');
    await check('mkfifo', fifo);
    expect(() => openImage(fifo, { readOnly: true })).toThrow(/not a regular file/);
    writeDescriptor(image, ['RW 8 FLAT "/dev/zero" 0']);
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_A_FILE' });
  });

  test('COWD and seSparse extents are named', () => {
    writeFileSync(image, Buffer.concat([Buffer.from('COWD'), Buffer.alloc(4096)]));
    expect(refusal(image, true).message).toMatch(/COWD/);
    writeFileSync(image, Buffer.concat([littleEndian(0xcafebabe, 8), Buffer.alloc(4096)]));
    expect(refusal(image, true).message).toMatch(/seSparse/);
  });
});

/** A descriptor for a sparse file of `sectors`. */
function embedded(sectors: number): string {
  return `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\nRW ${sectors} SPARSE "d"\n`;
}

describe('descriptors', () => {
  const flat = (name: string, bytes: number): void => {
    writeFileSync(join(folder, name), Buffer.alloc(bytes));
  };

  test.each<[string, string[], VmdkErrorCode]>([
    ['no extent', [], 'VMDK_NO_EXTENTS'],
    ['an extent of 0 sectors', ['RW 0 FLAT "a.raw" 0'], 'VMDK_BAD_EXTENT_LINE'],
    [
      'an extent of 2^60 sectors',
      ['RW 1152921504606846976 FLAT "a.raw" 0'],
      'VMDK_BAD_EXTENT_LINE',
    ],
    ['no file name', ['RW 8 FLAT'], 'VMDK_BAD_EXTENT_LINE'],
    ['a type that is not known', ['RW 8 VMFSSPARSE "a.raw"'], 'VMDK_UNSUPPORTED'],
    ['a missing extent', ['RW 8 FLAT "missing.raw" 0'], 'VMDK_MISSING_FILE'],
    ['a flat file that is too short', ['RW 9 FLAT "a.raw" 0'], 'VMDK_TRUNCATED'],
    ['a flat offset past the end', ['RW 8 FLAT "a.raw" 1'], 'VMDK_TRUNCATED'],
    ['a folder as extent', ['RW 8 FLAT "." 0'], 'VMDK_NOT_A_FILE'],
    ['a flat file as SPARSE', ['RW 8 SPARSE "a.raw"'], 'VMDK_NOT_VMDK'],
    ['extents past 8 PiB', ['RW 17592186044415 ZERO', 'RW 8 ZERO'], 'VMDK_BAD_CAPACITY'],
  ])('%s is refused', (_name, extents, code) => {
    flat('a.raw', 4096);
    writeDescriptor(image, extents);
    expect(refusal(image, false)).toMatchObject({ code });
  });

  test('one sparse file as two extents forbids writing', () => {
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 256, grainSectors: 128, tableEntries: 512 });
    writeDescriptor(image, ['RW 256 SPARSE "s.vmdk"', 'RW 256 SPARSE "s.vmdk"']);
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
    openImage(image, { readOnly: true }).device.close();
  });

  test('a file of the parent as an extent of the child forbids writing', () => {
    flat('a.raw', 4096);
    const parent = join(folder, 'parent.vmdk');
    writeDescriptor(parent, ['RW 8 FLAT "a.raw" 0'], { cid: '1' });
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 0'], { parentCid: '1', hint: 'parent.vmdk' });
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_FILE_USED_TWICE' });
  });

  test('flat extents may share a file', () => {
    flat('a.raw', 8192);
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 8', 'RW 8 FLAT "a.raw" 0']);
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(4096, 3), 0, 4096, 4096);
    device.close();
    expect(peek(join(folder, 'a.raw'), 0, 4096).equals(Buffer.alloc(4096, 3))).toBe(true);
  });

  test('a megabyte of blank lines is refused at once', () => {
    writeFileSync(image, '\n'.repeat(MIB));
    const before = performance.now();
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_NOT_VMDK' });
    expect(performance.now() - before).toBeLessThan(5000);
  });

  test('control characters in names do not reach the terminal', () => {
    writeDescriptor(image, ['RW 8 FLAT "\u001b[2Jgone" 0']);
    writeFileSync(join(folder, '\u001b[2Jgone'), Buffer.alloc(8));
    const message = describeError(refusal(image, true));
    expect(message).toMatch(/\?\[2Jgone/);
    expect(message).not.toMatch(/\p{Cc}/u);
  });

  test('a directory of scattered tables is opened in time that grows with their number only', () => {
    // Tables of one sector, every second one, in a file that is nearly all hole.
    const tables = MIB / 4;
    const shape = { sectors: tables * 128, grainSectors: 1, tableEntries: 128, withTables: false };
    writeSparseFile(image, { ...shape, flags: 1, descriptor: embedded(shape.sectors) });
    const directory = Number(peek(image, header.gdOffset.offset, 8).readBigUInt64LE()) * SECTOR;
    const first = directory / SECTOR + (tables * 4) / SECTOR + 1;
    const entries = Uint32Array.from({ length: tables }, (_, table) => first + 2 * table);
    poke(image, directory, new Uint8Array(entries.buffer));
    truncateSync(image, (first + 2 * tables) * SECTOR);
    const before = performance.now();
    openImage(image, { readOnly: true }).device.close();
    expect(performance.now() - before).toBeLessThan(60_000);
  });

  test('a CID that is no number is refused', () => {
    flat('a.raw', 4096);
    writeDescriptor(image, ['RW 8 FLAT "a.raw" 0'], { cid: 'xyz' });
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_BAD_DESCRIPTOR' });
  });

  test('an encrypted disk is refused, never shown as ciphertext', () => {
    flat('a.raw', 4096);
    writeDescriptor(image, ['encryptionKeys="vmware:key/list"', 'RW 8 FLAT "a.raw" 0']);
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_ENCRYPTED' });
  });

  test('change tracking forbids writing only', () => {
    flat('a.raw', 4096);
    writeDescriptor(image, ['changeTrackPath="a-ctk.vmdk"', 'RW 8 FLAT "a.raw" 0']);
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_READ_ONLY' });
    openImage(image, { readOnly: true }).device.close();
  });
});

describe('chains', () => {
  test('a parent with another CID is refused, both files and values named', () => {
    const child = join(folder, 'child.vmdk');
    createImage(child, { size: undefined, backing: image });
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(512, 1), 0, 512, 0);
    device.close();
    const error = refusal(child, true);
    expect(error.code).toBe('VMDK_CID_MISMATCH');
    expect(error.message).toMatch(/child\.vmdk.* [0-9a-f]{8}.*\/disk\.vmdk .* [0-9a-f]{8}/);
  });

  test('a missing parent is refused', () => {
    writeDescriptor(image, ['RW 8 ZERO'], { parentCid: '1', hint: 'gone.vmdk' });
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_MISSING_FILE' });
  });

  test('a parent CID without a hint is refused', () => {
    writeDescriptor(image, ['RW 8 ZERO'], { parentCid: '1' });
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_BAD_DESCRIPTOR' });
  });

  test('a chain that leads back to itself is refused', () => {
    const other = join(folder, 'other.vmdk');
    writeDescriptor(image, ['RW 8 ZERO'], { cid: '1', parentCid: '2', hint: 'other.vmdk' });
    writeDescriptor(other, ['RW 8 ZERO'], { cid: '2', parentCid: '1', hint: 'link/disk.vmdk' });
    symlinkSync('.', join(folder, 'link'));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_CHAIN_LOOP' });
  });

  test('a chain of 257 images is refused, of 256 opened', () => {
    const name = (index: number): string => join(folder, `link-${index}.vmdk`);
    writeDescriptor(name(0), ['RW 8 ZERO'], { cid: '1' });
    for (let index = 1; index < 257; index++) {
      const parent = { cid: '1', parentCid: '1', hint: `link-${index - 1}.vmdk` };
      writeDescriptor(name(index), ['RW 8 ZERO'], parent);
    }
    expect(refusal(name(256), true)).toMatchObject({ code: 'VMDK_CHAIN_TOO_LONG' });
    openImage(name(255), { readOnly: true }).device.close();
  });

  test('a symlinked image finds its extents beside the link or beside the file', () => {
    mkdirSync(join(folder, 'store'));
    writeFileSync(join(folder, 'store', 'a.raw'), Buffer.alloc(4096, 5));
    writeDescriptor(join(folder, 'store', 'd.vmdk'), ['RW 8 FLAT "a.raw" 0']);
    symlinkSync('store/d.vmdk', join(folder, 'd.vmdk'));
    openImage(join(folder, 'd.vmdk'), { readOnly: true }).device.close();
    copyFileSync(join(folder, 'store', 'a.raw'), join(folder, 'a.raw'));
    openImage(join(folder, 'd.vmdk'), { readOnly: true }).device.close();
  });
});
