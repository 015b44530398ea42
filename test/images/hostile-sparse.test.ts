import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { SparseExtentHeader } from '../../src/vmdk/sparse-extent-header.js';
import type { VmdkErrorCode } from '../../src/vmdk/vmdk-error.js';
import { checkImageFile, contentOf, foundIn } from '../helpers/checked.js';
import { writeDescriptor } from '../helpers/images.js';
import { inspectSparseFile, writeSparseFile } from '../helpers/sparse-file.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { filledImage, refusal } from '../helpers/refusal.js';

const SECTOR = 512;
const MIB = 1024 * 1024;

let folder: string;
let image: string;

beforeEach(() => {
  ({ folder, image } = filledImage());
});

/** A descriptor for a sparse file of `sectors`. */
function embedded(sectors: number): string {
  return `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\nRW ${sectors} SPARSE "d"\n`;
}

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
  ['grainSize 2^22', header.grainSize, 8, 2 ** 22, 'VMDK_BAD_GRAIN_SIZE'],
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

  test('a redundant entry past the end forbids writing: grains would come to lie there', () => {
    // It was opened, a grain was put where the entry leads, and then it did not open any more.
    poke(image, places('rgdOffset').directory, littleEndian(0x10000, 4));
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_BAD_DIRECTORY' });
    openImage(image, { readOnly: true }).device.close();
  });

  test.each(['gdOffset', 'rgdOffset'] as const)(
    'the first write anywhere completes a table to which %s does not lead, and closes the extent',
    (name) => {
      const before = contentOf(image);
      const { directory } = places(name);
      for (const table of [0, 1]) poke(image, directory + 4 * table, littleEndian(0, 4));
      poke(image, header.uncleanShutdown.offset, Buffer.of(1));
      // Also where there is memory for one table only.
      const { device } = openImage(image, { readOnly: false, tableMemory: 1 });
      device.write(before.subarray(0, SECTOR), 0, SECTOR, 0);
      device.flush();
      expect(peek(image, directory, 4).readUInt32LE()).not.toBe(0);
      expect(peek(image, header.uncleanShutdown.offset, 1).readUInt8()).toBe(1);
      device.close();
      expect(peek(image, header.uncleanShutdown.offset, 1).readUInt8()).toBe(0);
      expect(inspectSparseFile(image).problems).toEqual([]);
      expect(foundIn(checkImageFile(image))).toEqual([]);
      expect(contentOf(image).equals(before)).toBe(true);
    },
  );

  test('an extent that was not written to keeps its mark', () => {
    poke(image, places('gdOffset').directory, littleEndian(0, 4));
    poke(image, header.uncleanShutdown.offset, Buffer.of(1));
    const before = readFileSync(image);
    openImage(image, { readOnly: false }).device.close();
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test('two grains in one place forbid writing, also in a table of the redundant directory alone', () => {
    const { directory } = places('gdOffset');
    const { table } = places('rgdOffset');
    poke(image, directory, littleEndian(0, 4));
    poke(image, header.uncleanShutdown.offset, Buffer.of(1));
    const first = peek(image, table, 4 * 512);
    const used = Array.from({ length: 512 }, (_, index) => first.readUInt32LE(4 * index));
    const [one = -1, two = -1] = used.flatMap((entry, index) => (entry > 1 ? [index] : []));
    poke(image, table + 4 * two, littleEndian(used[one] ?? 0, 4));
    expect(refusal(image, false)).toMatchObject({ code: 'VMDK_BAD_GRAIN' });
  });

  test('a file without tables may be shorter than a table', () => {
    const short = join(folder, 'short.vmdk');
    writeSparseFile(join(folder, 'short-s001.vmdk'), {
      sectors: 64,
      grainSectors: 1,
      tableEntries: 512,
      withTables: false,
    });
    writeDescriptor(short, ['RW 64 SPARSE "short-s001.vmdk"']);
    for (const byte of [1, 2]) {
      const { device } = openImage(short, { readOnly: false });
      device.write(Buffer.alloc(SECTOR, byte), 0, SECTOR, byte * SECTOR);
      device.close();
    }
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

  test('a new grain does not lie over a last grain that is unaligned and cut short', () => {
    const { directory, table } = places('gdOffset');
    const other = peek(image, places('rgdOffset').directory, 4).readUInt32LE() * SECTOR;
    // Grain 0 begins in the middle of a grain's place and reaches past the end of the file.
    const start = 65536 * 50 + 32768;
    truncateSync(image, start + 32768);
    poke(image, start, Buffer.alloc(32768, 0x41));
    for (const at of [table, other]) {
      poke(image, at, Buffer.alloc(2048));
      poke(image, at, littleEndian(start / SECTOR, 4));
    }
    expect(directory).toBeGreaterThan(0);
    const { device } = openImage(image, { readOnly: false });
    device.write(Buffer.alloc(65536, 0x55), 0, 65536, 65536);
    const bytes = Buffer.alloc(65536);
    device.read(bytes, 0, 65536, 0);
    expect(bytes.equals(Buffer.concat([Buffer.alloc(32768, 0x41), Buffer.alloc(32768)]))).toBe(
      true,
    );
    device.close();
  });

  test('a table behind a missing one is checked although its sector seems to follow', () => {
    const file = join(folder, 's.vmdk');
    const shape = { sectors: 2 * 512 * 128, grainSectors: 128, tableEntries: 512, flags: 1 };
    writeSparseFile(file, shape);
    writeDescriptor(image, [`RW ${shape.sectors} SPARSE "s.vmdk"`]);
    // Entries 0 (missing) and 4: four sectors, one table, apart.
    poke(file, SECTOR, Buffer.concat([littleEndian(0, 4), littleEndian(4, 4)]));
    openImage(image, { readOnly: true }).device.close();
    poke(file, 4 * SECTOR, littleEndian(0x7fffffff, 4));
    expect(refusal(image, true)).toMatchObject({ code: 'VMDK_TRUNCATED' });
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
});
