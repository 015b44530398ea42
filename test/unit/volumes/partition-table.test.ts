import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readPartitionTable, type PartitionTable } from '../../../src/volumes/partition-table.js';
import {
  putDosTable,
  putGpt,
  sealGptHeader,
  type DosEntry,
} from '../../helpers/partition-tables.js';
import { isMissing } from '../../helpers/requirements.js';
import { shell } from '../../helpers/run.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const MIB = 1024 * 1024;
const LINUX = '0FC63DAF-8483-4772-8E79-3D69D8477DE4';
const EFI = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B';

/** Most reads of one look at a table. */
const READS_MAX = 300;

/** Reads the table of `disk`; a read outside it, or one too many, fails the test. */
function tableOf(disk: Buffer): PartitionTable {
  let reads = 0;
  return readPartitionTable((offset, length) => {
    if (offset < 0 || offset + length > disk.length) throw new Error(`read at ${offset}`);
    if (++reads > READS_MAX) throw new Error('too many reads');
    return disk.subarray(offset, offset + length);
  }, disk.length);
}

/** The partitions of a table as `number start size type`, start and size in KiB. */
function shortly({ partitions }: PartitionTable): string[] {
  return partitions.map(
    ({ number, size, start, type }) => `${number} ${start / 1024} ${size / 1024} ${type}`,
  );
}

describe('a disk without a table', () => {
  test.each([
    ['of zeros', Buffer.alloc(MIB)],
    ['of no bytes', Buffer.alloc(0)],
    ['smaller than a sector', Buffer.alloc(100, 0x55)],
    ['of noise', Buffer.alloc(MIB, 0xa7)],
  ])('%s has no partitions', (_what, disk) => {
    expect(tableOf(disk)).toMatchObject({ kind: undefined, partitions: [], notices: [] });
  });

  test('but with the boot sector of a file system has none either', () => {
    const disk = Buffer.alloc(MIB);
    putDosTable(disk, 0, [{ type: 0x20, start: 0x74736574, sectors: 0x6f6d6572, indicator: 0x72 }]);
    expect(tableOf(disk)).toMatchObject({ kind: undefined, partitions: [], notices: [] });
  });
});

describe('a DOS table', () => {
  test('tells primary partitions by their places in it', () => {
    const disk = Buffer.alloc(4 * MIB);
    putDosTable(disk, 0, [
      { type: 0, start: 0, sectors: 0 },
      { type: 0x83, start: 2048, sectors: 2048, indicator: 0x80 },
      { type: 7, start: 0, sectors: 0 },
      { type: 0x07, start: 4096, sectors: 1024 },
    ]);
    expect(tableOf(disk)).toMatchObject({ kind: 'dos', notices: [] });
    expect(tableOf(disk).partitions).toEqual([
      {
        ...{ number: 2, start: MIB, size: MIB, type: '0x83', typeName: 'Linux' },
        ...{ letter: '', parent: undefined, label: '', bootable: true, isContainer: false },
      },
      {
        ...{ number: 4, start: 2 * MIB, size: MIB / 2, type: '0x07', typeName: 'HPFS/NTFS/exFAT' },
        ...{ letter: '', parent: undefined, label: '', bootable: false, isContainer: false },
      },
    ]);
  });

  /** 8 MiB with an extended partition from 2 MiB to 6 MiB, and tables in it by their sector. */
  function extended(tables: Readonly<Record<number, readonly DosEntry[]>>): PartitionTable {
    const disk = Buffer.alloc(8 * MIB);
    putDosTable(disk, 0, [{ type: 0x05, start: 4096, sectors: 8192 }]);
    for (const [sector, entries] of Object.entries(tables))
      putDosTable(disk, Number(sector), entries);
    return tableOf(disk);
  }

  const logical = { type: 0x83, start: 64, sectors: 1024 };
  const link = (start: number): DosEntry => ({ type: 0x05, start, sectors: 2048 });

  test('leads to logical partitions, from 5 on', () => {
    const table = extended({
      4096: [logical, link(2048)],
      6144: [{ ...logical, type: 0x82 }, link(4096)],
      8192: [{ ...logical, type: 0x07, indicator: 0x80 }],
    });
    expect(shortly(table)).toEqual([
      '1 2048 4096 0x05',
      '5 2080 512 0x83',
      '6 3104 512 0x82',
      '7 4128 512 0x07',
    ]);
    expect(table.partitions.map(({ isContainer }) => isContainer)).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(table.notices).toEqual([]);
    for (const sector of [4096, 6144, 8192]) {
      expect(table.places).toContainEqual({ start: sector * 512, end: (sector + 1) * 512 });
    }
  });

  test('with an empty table in the chain gives no number to it', () => {
    const table = extended({
      4096: [{ type: 0, start: 0, sectors: 0 }, link(2048)],
      6144: [logical],
    });
    expect(shortly(table)).toEqual(['1 2048 4096 0x05', '5 3104 512 0x83']);
  });

  test('with an extended partition that nothing was put into is sound', () => {
    expect(extended({}).notices).toEqual([]);
  });

  test.each([
    ['that goes round', { 4096: [logical, link(2048)], 6144: [logical, link(2048)] }, /circles/, 2],
    ['to its first table', { 4096: [logical, link(2048)], 6144: [logical, link(0)] }, /^$/, 2],
    ['to itself', { 4096: [logical, link(0)] }, /^$/, 1],
    ['past the end of the disk', { 4096: [logical, link(99000)] }, /past the end of the disk/, 1],
    ['to no table', { 4096: [logical, link(2048)] }, /no table of logical partitions/, 1],
  ])('follows no chain %s', (_what, tables, notice, count) => {
    const table = extended(tables);
    expect(table.notices.join('\n')).toMatch(notice);
    expect(table.partitions.filter(({ number }) => number >= 5)).toHaveLength(count);
  });

  test('whose chain is past the end of the disk keeps what is before', () => {
    const disk = Buffer.alloc(2 * MIB);
    putDosTable(disk, 0, [
      { type: 0x83, start: 2048, sectors: 1024 },
      { type: 0x0f, start: 4096, sectors: 0xffff_ffff },
    ]);
    const table = tableOf(disk);
    expect(shortly(table)).toEqual(['1 1024 512 0x83']);
    expect(table.notices.join('\n')).toMatch(
      /past the end of the disk[\s\S]*partition 2 begins past/,
    );
  });

  test('of a chain without an end is read in a bounded number of steps', () => {
    const disk = Buffer.alloc(8 * MIB);
    putDosTable(disk, 0, [{ type: 0x05, start: 4096, sectors: 8192 }]);
    for (let index = 0; index < 4000; index++) {
      putDosTable(disk, 4096 + index, [
        { type: 0x83, start: 1, sectors: 1 },
        { type: 0x05, start: index + 1, sectors: 1 },
      ]);
    }
    const { notices, partitions } = tableOf(disk);
    expect(partitions).toHaveLength(128);
    expect(notices.join('\n')).toMatch(/256th[\s\S]*only the first 128 of 257/);
  });

  test('with partitions past the end, over the end and over each other says so', () => {
    const disk = Buffer.alloc(4 * MIB);
    putDosTable(disk, 0, [
      { type: 0x83, start: 2048, sectors: 4096 },
      { type: 0x83, start: 4096, sectors: 0xffff_ffff },
      { type: 0x83, start: 0xffff_0000, sectors: 2048 },
    ]);
    const table = tableOf(disk);
    expect(shortly(table)).toEqual(['1 1024 2048 0x83', '2 2048 2048 0x83']);
    expect(table.notices).toEqual([
      'partition 2 ends past the end of the disk and is cut there',
      'partition 3 begins past the end of the disk and is left out',
      'partitions 1 and 2 overlap',
    ]);
  });
});

describe.each([512, 4096])('a GPT with sectors of %d bytes', (sectorBytes) => {
  const perMib = MIB / sectorBytes;
  const entries = [
    { number: 1, type: EFI, first: perMib, last: 2 * perMib - 1, label: 'EFI system' },
    { number: 5, type: LINUX, first: 3 * perMib, last: 4 * perMib - 1, attributes: 4 },
  ];
  const expected = [`1 1024 1024 ${EFI}`, `5 3072 1024 ${LINUX}`];

  function disk(): Buffer {
    const made = Buffer.alloc(8 * MIB);
    putGpt(made, entries, { sectorBytes });
    return made;
  }

  test('tells partitions by the places of their entries', () => {
    const table = tableOf(disk());
    expect(table).toMatchObject({ kind: 'gpt', notices: [] });
    expect(shortly(table)).toEqual(expected);
    expect(table.partitions).toMatchObject([
      { typeName: 'EFI System', label: 'EFI system', bootable: false },
      { typeName: 'Linux filesystem', label: '', bootable: true },
    ]);
    expect(table.places).toContainEqual({ start: sectorBytes, end: 2 * sectorBytes });
  });

  test.each([
    ['the signature', 0],
    ['the checksum', 16],
    ['the own sector', 24],
    ['the checksum of the entries', 88],
  ])('is read from its end where %s of the first header is broken', (_what, offset) => {
    const broken = disk();
    broken[sectorBytes + offset]! ^= 0xff;
    // Where a header is itself not sealed, its checksum would hide what else is wrong with it.
    if (offset > 16) sealGptHeader(broken.subarray(sectorBytes, 2 * sectorBytes));
    const table = tableOf(broken);
    expect(shortly(table)).toEqual(expected);
    expect(table.notices).toEqual([
      'the first GPT is damaged; the one at the end of the disk is used',
    ]);
  });

  test('is read from its end where an entry is broken', () => {
    const broken = disk();
    broken[2 * sectorBytes + 40]! ^= 0xff;
    expect(shortly(tableOf(broken))).toEqual(expected);
  });

  test('of which nothing is good is none, and said', () => {
    const broken = disk();
    broken[sectorBytes]! ^= 0xff;
    broken[broken.length - sectorBytes]! ^= 0xff;
    expect(tableOf(broken)).toMatchObject({
      kind: undefined,
      partitions: [],
      notices: ['the DOS table announces a GPT, of which neither header is good'],
    });
  });

  test('beside a DOS table of its own (hybrid) is what counts', () => {
    const hybrid = disk();
    putDosTable(hybrid, 0, [
      { type: 0xee, start: 1, sectors: 2047 },
      { type: 0x83, start: 2048, sectors: 2048 },
    ]);
    expect(shortly(tableOf(hybrid))).toEqual(expected);
    hybrid[sectorBytes]! ^= 0xff;
    hybrid[hybrid.length - sectorBytes]! ^= 0xff;
    expect(shortly(tableOf(hybrid))).toEqual(['2 1024 1024 0x83']);
  });

  test('that no DOS table announces does not count', () => {
    const bare = disk();
    putDosTable(bare, 0, [{ type: 0x83, start: 2048, sectors: 2048 }]);
    expect(shortly(tableOf(bare))).toEqual(['1 1024 1024 0x83']);
  });

  test.each([
    ['too many entries', { entryCount: 0xffff_ffff }],
    ['entries that are too short', { entryBytes: 64 }],
    ['entries of an odd length', { entryBytes: 129 }],
    ['entries past the end', { entriesSector: 1e9 }],
    ['a header longer than its sector', { headerBytes: 8192 }],
    ['a header that is too short', { headerBytes: 40 }],
  ])('with %s is no table', (_what, oddities) => {
    const odd = Buffer.alloc(8 * MIB);
    putGpt(odd, [], { sectorBytes, ...oddities });
    // Both copies say so, except where the entries are.
    const isOneSided = 'entriesSector' in oddities;
    expect(tableOf(odd).kind).toBe(isOneSided ? 'gpt' : undefined);
    expect(tableOf(odd).notices).toHaveLength(1);
  });

  test('with larger entries is read', () => {
    const large = Buffer.alloc(8 * MIB);
    putGpt(large, entries, { sectorBytes, entryBytes: 256, entryCount: 16 });
    expect(shortly(tableOf(large))).toEqual(expected);
  });

  test('with partitions that cannot be leaves them out', () => {
    const odd = Buffer.alloc(8 * MIB);
    putGpt(
      odd,
      [
        { number: 1, type: LINUX, first: 100, last: 50 },
        { number: 2, type: LINUX, first: 2 ** 52, last: 2 ** 53 },
        { number: 3, type: LINUX, first: 100, last: 2 ** 50 },
      ],
      { sectorBytes },
    );
    const table = tableOf(odd);
    expect(table.partitions.map(({ number }) => number)).toEqual([3]);
    expect(table.partitions[0]?.size).toBe(8 * MIB - 100 * sectorBytes);
    expect(table.notices).toHaveLength(3);
  });
});

test('a GPT of a thousand partitions is told in part, with few words', () => {
  const disk = Buffer.alloc(8 * MIB);
  const many = Array.from({ length: 1000 }, (_, index) => {
    return { number: index + 1, type: LINUX, first: 4096, last: 4100 };
  });
  putGpt(disk, many, { entryCount: 1000 });
  const { notices, partitions } = tableOf(disk);
  expect(partitions).toHaveLength(128);
  expect(notices).toHaveLength(21);
  expect(notices.at(-1)).toMatch(/and \d+ more/);
});

test('whatever a table says, reading it ends and its partitions are inside the disk', () => {
  const disk = Buffer.alloc(MIB);
  putDosTable(disk, 0, [
    { type: 0x05, start: 64, sectors: 1000 },
    { type: 0xee, start: 1, sectors: 2047 },
  ]);
  putDosTable(disk, 64, [{ type: 0x05, start: 1, sectors: 10 }]);
  const edit = fc.tuple(fc.nat(2047), fc.constantFrom(0, 1, 5, 0x0f, 0x55, 0x80, 0xaa, 0xee, 0xff));
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 40 }), fc.nat(4), (edits, place) => {
      const damaged = Buffer.from(disk);
      const base = [0, 446, 512, 64 * 512 + 446, 65 * 512 + 446][place]!;
      for (const [offset, value] of edits) damaged[base + offset] = value;
      for (const { size, start } of tableOf(damaged).partitions) {
        expect(size).toBeGreaterThan(0);
        expect(start + size).toBeLessThanOrEqual(damaged.length);
      }
    }),
  );
});

describe.skipIf(isMissing('tables of sfdisk', 'sfdisk'))('a table that sfdisk made', () => {
  /** What sfdisk says of the disk that it made from `script`, and what we say. */
  async function both(script: string): Promise<{ theirs: string[]; table: PartitionTable }> {
    const file = join(tempFolder(), 'disk');
    writeFileSync(file, '');
    truncateSync(file, 64 * MIB);
    const dump = await shell(
      'printf "%s" "$2" | sfdisk -q "$1" && sfdisk --json "$1"',
      file,
      script,
    );
    const { partitiontable } = JSON.parse(dump) as {
      partitiontable: {
        partitions: { node: string; start: number; size: number; type: string }[];
      };
    };
    const theirs = partitiontable.partitions.map(({ node, size, start, type }) => {
      const number = node.slice(file.length);
      const wanted = type.length > 2 ? type : `0x${type.padStart(2, '0')}`;
      return `${number} ${start / 2} ${size / 2} ${wanted}`;
    });
    return { theirs, table: tableOf(readFileSync(file)) };
  }

  test('of DOS with logical partitions', async () => {
    const { table, theirs } = await both(
      'label: dos\n2048,8M,L,*\n,8M,82\n,1M,L\n,40M,E\n,4M,L\n,4M,7\n,4M,c\n',
    );
    expect(shortly(table)).toEqual(theirs);
    expect(theirs.map((line) => line.split(' ')[0])).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    expect(table).toMatchObject({ kind: 'dos', notices: [] });
    expect(table.partitions[0]).toMatchObject({ bootable: true });
  });

  test('of GPT', async () => {
    const { table, theirs } = await both(
      'label: gpt\nsize=8M,type=U,name="EFI"\nsize=8M,type=S\nsize=8M,type=L,name="root"\n',
    );
    expect(shortly(table)).toEqual(theirs);
    expect(table.partitions.map(({ label, typeName }) => `${typeName} ${label}`)).toEqual([
      'EFI System EFI',
      'Linux swap ',
      'Linux filesystem root',
    ]);
    expect(table).toMatchObject({ kind: 'gpt', notices: [] });
  });
});
