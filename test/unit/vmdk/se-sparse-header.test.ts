import { describe, expect, test } from 'vitest';
import {
  decodeSeSparseHeader,
  decodeVolatileHeader,
  encodeSeSparseHeader,
  newJournalHeader,
  newSeSparseHeader,
  newVolatileHeader,
  SESPARSE_BYTES_MAX,
  SESPARSE_CONST_HEADER_MAGIC,
  SeSparseConstHeader,
  SeSparseVolatileHeader,
  type SeSparseHeader,
} from '../../../src/vmdk/se-sparse-header.js';
import { VmdkError } from '../../../src/vmdk/vmdk-error.js';
import { littleEndian } from '../../helpers/poke.js';

const SECTOR = 512;
const MIB = 1024 * 1024;
const TIB = 2 ** 40;

/** The header of an extent of 512 MiB as ESXi writes it. */
const ESXI_512_MIB = Buffer.concat(
  [
    Buffer.from([
      ...[0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0, 0x01, 0, 0, 0, 0x02, 0, 0, 0], // magic, version 2.1
      ...[0x00, 0x00, 0x10, 0, 0, 0, 0, 0, 0x08, 0, 0, 0, 0, 0, 0, 0], // capacity, grainSize
      ...[0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // grainTableSize, flags
      ...new Array<number>(32).fill(0), // reserved
      ...[0x01, 0, 0, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 0], // volatile header
      ...[0x02, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0], // journal header
      ...[0x00, 0x08, 0, 0, 0, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 0, 0, 0], // journal
      ...[0x00, 0x10, 0, 0, 0, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 0, 0, 0], // grain directory
      ...[0x00, 0x18, 0, 0, 0, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 0, 0, 0], // grain tables
      ...[0x00, 0x20, 0, 0, 0, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 0, 0, 0], // free bitmap
      ...[0x00, 0x28, 0, 0, 0, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 0, 0, 0], // backmap
      ...[0x00, 0x30, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0x10, 0, 0, 0, 0, 0], // grains
    ]),
  ],
  SECTOR,
);

type Change = readonly [offset: number, value: number | bigint];

/** Decodes ESXi's header with a u64 at each `offset`. */
function decodeWith(...changes: readonly Change[]): SeSparseHeader {
  const sector = Buffer.from(ESXI_512_MIB);
  for (const [offset, value] of changes) sector.set(littleEndian(value, 8), offset);
  return decodeSeSparseHeader(sector, 'x-sesparse.vmdk');
}

describe('the structs', () => {
  test('have their fields where QEMU has them', () => {
    const { byteLength, ...fields } = SeSparseConstHeader;
    const offsets = Object.entries(fields).map(([name, { offset }]) => `${offset} ${name}`);
    expect(offsets).toEqual([
      ...['0 magic', '8 version', '16 capacity', '24 grainSize', '32 grainTableSize', '40 flags'],
      ...['48 reserved1', '56 reserved2', '64 reserved3', '72 reserved4'],
      ...['80 volatileHeaderOffset', '88 volatileHeaderSize', '96 journalHeaderOffset'],
      ...['104 journalHeaderSize', '112 journalOffset', '120 journalSize', '128 grainDirOffset'],
      ...['136 grainDirSize', '144 grainTablesOffset', '152 grainTablesSize'],
      ...['160 freeBitmapOffset', '168 freeBitmapSize', '176 backMapOffset', '184 backMapSize'],
      ...['192 grainsOffset', '200 grainsSize', '208 pad'],
    ]);
    expect(byteLength).toBe(512);
    const { freeGTNumber, nextTxnSeqNumber, replayJournal, pad } = SeSparseVolatileHeader;
    expect([freeGTNumber, nextTxnSeqNumber, replayJournal, pad].map(({ offset }) => offset)) //
      .toEqual([8, 16, 24, 32]);
  });
});

describe('decodeSeSparseHeader', () => {
  test('is for files that begin with the magic', () => {
    expect(ESXI_512_MIB.readBigUInt64LE(0)).toBe(BigInt(SESPARSE_CONST_HEADER_MAGIC));
  });

  test('reads a header of ESXi', () => {
    expect(decodeWith()).toEqual({
      capacity: 512 * MIB,
      grainBytes: 4096,
      tableEntries: 4096,
      tableBytes: 32768,
      volatileOffset: SECTOR,
      journalHeader: { offset: 2 * SECTOR, length: 2 * SECTOR },
      journal: { offset: MIB, length: MIB },
      directory: { offset: 2 * MIB, length: MIB },
      tables: { offset: 3 * MIB, length: MIB },
      freeBitmap: { offset: 4 * MIB, length: MIB },
      backMap: { offset: 5 * MIB, length: MIB },
      grains: { offset: 6 * MIB, length: 512 * MIB },
    });
  });

  test('does not need a journal', () => {
    expect(decodeWith([104, 0], [112, 0], [120, 0]).journal).toEqual({ offset: 0, length: 0 });
  });

  test('takes regions in any order, side by side', () => {
    // Grain tables and grain directory change places.
    expect(decodeWith([128, 0x1800], [144, 0x1000]).tables).toEqual({
      offset: 2 * MIB,
      length: MIB,
    });
    // The directory is as small as 32 tables allow.
    expect(decodeWith([136, 1]).directory.length).toBe(SECTOR);
  });

  test.each([
    ['another magic', [0, 0x1_cafebaben], 'VMDK_NOT_VMDK', 'no cafebabe magic'],
    ['version 2.0', [8, 0x2_0000_0000n], 'VMDK_BAD_VERSION', '0x200000000 is not known'],
    ['version 1', [8, 1], 'VMDK_BAD_VERSION', '0x1 is not known (0x200000001 expected)'],
    ['capacity 0', [16, 0], 'VMDK_BAD_CAPACITY', 'capacity 0 sectors'],
    ['more than 64 TiB', [16, 2n ** 37n + 1n], 'VMDK_BAD_CAPACITY', '137438953473 sectors'],
    ['grain size 16', [24, 16], 'VMDK_BAD_GRAIN_SIZE', 'grain size 16 sectors'],
    ['tables of 32', [32, 32], 'VMDK_BAD_TABLE_SIZE', 'grain tables of 32 sectors'],
    ['a flag', [40, 2n ** 63n], 'VMDK_BAD_FLAGS', 'header flags 0x8000000000000000'],
    ['reserved1', [48, 1], 'VMDK_UNSUPPORTED', 'byte 48 of the seSparse header is 1'],
    ['reserved4', [72, 2n ** 56n], 'VMDK_UNSUPPORTED', 'byte 79'],
    ['pad', [208, 0x300], 'VMDK_UNSUPPORTED', 'byte 209 of the seSparse header is 3'],
    ['the end of pad', [504, 2n ** 63n], 'VMDK_UNSUPPORTED', 'byte 511'],
    ['no volatile header', [88, 0], 'VMDK_BAD_DIRECTORY', 'the volatile header is 0 bytes long'],
    ['no directory', [136, 0], 'VMDK_BAD_DIRECTORY', 'directory is 0 bytes long (at least 256'],
    ['31 tables', [152, 31 * 64], 'VMDK_BAD_DIRECTORY', 'grain tables is 1015808 bytes long'],
    ['a small bitmap', [168, 31], 'VMDK_BAD_DIRECTORY', 'bitmap is 15872 bytes long'],
    ['a small backmap', [184, 0x7ff], 'VMDK_BAD_DIRECTORY', 'the backmap is 1048064 bytes long'],
    ['few grains', [200, 0xfffff], 'VMDK_BAD_DIRECTORY', 'of grains is 536870400 bytes long'],
    ['no place', [192, 2n ** 64n - 1n], 'VMDK_BAD_DIRECTORY', 'which is out of range'],
    ['the volatile header at 0', [80, 0], 'VMDK_BAD_DIRECTORY', 'begins at 0, before the end of'],
    ['tables in the journal', [144, 0xfff], 'VMDK_BAD_DIRECTORY', 'before the end of the'],
    [
      'grains in the backmap',
      [192, 0x2fff],
      'VMDK_BAD_DIRECTORY',
      'the region of grains begins at',
    ],
    ['a large directory', [136, 0x801], 'VMDK_BAD_DIRECTORY', 'the region of grain tables begins'],
  ] as const)('refuses %s', (_name, change, code, words) => {
    const decode = () => decodeWith(change);
    expect(decode).toThrow(VmdkError);
    expect(decode).toThrow(expect.objectContaining({ code, file: 'x-sesparse.vmdk' }));
    expect(decode).toThrow(words);
  });
});

describe('decodeVolatileHeader', () => {
  const ESXI = Buffer.concat(
    [
      Buffer.from([
        ...[0xfe, 0xca, 0xfe, 0xca, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0], // magic, free_gt_number
        ...[0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // next_txn_seq_number, replay_journal
      ]),
    ],
    SECTOR,
  );

  test('reads how many tables there are', () => {
    expect(decodeVolatileHeader(ESXI, 'x')).toEqual({ freeTableNumber: 32, replayJournal: false });
  });

  test('says when the journal holds changes', () => {
    const sector = Buffer.from(ESXI);
    sector[31] = 1;
    expect(decodeVolatileHeader(sector, 'x').replayJournal).toBe(true);
  });

  test.each([
    ['another magic', 0, 'VMDK_BAD_DIRECTORY', 'begins with 0xcafecaff (0xcafecafe expected)'],
    ['pad', 511, 'VMDK_UNSUPPORTED', 'byte 511'],
  ])('refuses %s', (_name, offset, code, words) => {
    const sector = Buffer.from(ESXI);
    sector[offset] = 0xff;
    const decode = () => decodeVolatileHeader(sector, 'x');
    expect(decode).toThrow(expect.objectContaining({ code }));
    expect(decode).toThrow(words);
  });
});

describe('a new extent', () => {
  test('has the header that ESXi gives it', () => {
    expect(Buffer.from(encodeSeSparseHeader(newSeSparseHeader(512 * MIB)))).toEqual(ESXI_512_MIB);
  });

  test.each([SECTOR, 4096, 4097 * SECTOR, 16 * MIB + SECTOR, 62 * TIB, SESPARSE_BYTES_MAX])(
    'of %d bytes is one that can be opened',
    (capacity) => {
      const header = newSeSparseHeader(capacity);
      expect(decodeSeSparseHeader(encodeSeSparseHeader(header), 'x')).toEqual(header);
      expect(header.grains.offset % MIB).toBe(0);
    },
  );

  test('of 64 TiB has a table for each 16 MiB', () => {
    const { directory, tables } = newSeSparseHeader(64 * TIB);
    expect([directory.length, tables.length]).toEqual([32 * MIB, 128 * 1024 * MIB]);
    expect(SESPARSE_BYTES_MAX).toBe(64 * TIB);
  });

  test('has no tables and nothing in its journal', () => {
    expect(decodeVolatileHeader(newVolatileHeader(), 'x')).toEqual({
      freeTableNumber: 0,
      replayJournal: false,
    });
    const journal = Buffer.from(newJournalHeader());
    expect(journal.toString('hex')).toBe('dec0afde000000000100000000000000' + '0100000000000000');
    // The number of the transaction is that of the volatile header.
    expect(journal.subarray(8, 16)).toEqual(Buffer.from(newVolatileHeader()).subarray(16, 24));
  });
});
