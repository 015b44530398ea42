/**
 * Partitions as Linux sees them: libblkid (through partx) looks at the same disks. Where the kernel's
 * numbers are others than libblkid's, those of the samples' manifest count, and the test says so.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readPartitionTable, type PartitionTable } from '../../../src/volumes/partition-table.js';
import { putAppleMap, putBsdLabel, putSunLabel, putVtoc } from '../../helpers/disk-labels.js';
import { putDosTable, type DosEntry } from '../../helpers/partition-tables.js';
import { isMissing, SAMPLES } from '../../helpers/requirements.js';
import { shell } from '../../helpers/run.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const MIB = 1024 * 1024;
const SECTORS = (4 * MIB) / 512;

function tableOf(disk: Buffer): PartitionTable {
  return readPartitionTable(
    (offset, length) => disk.subarray(offset, offset + length),
    disk.length,
  );
}

/** Number, start and size in sectors of what lies inside the disk whole. */
function ours(disk: Buffer): string[] {
  const table = tableOf(disk);
  const cut = table.notices.join('\n');
  return table.partitions
    .filter(({ number }) => !cut.includes(`partition ${number} ends past the end`))
    .map(({ number, size, start }) => `${number} ${start / 512} ${size / 512}`);
}

/** The same by libblkid. */
async function theirs(disk: Buffer, folder: string): Promise<string[]> {
  const file = join(folder, 'disk');
  writeFileSync(file, disk);
  const text = await shell('partx -g -o NR,START,SECTORS "$1" 2>/dev/null || true', file);
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([number = 0, start = 0, sectors = 0]) => {
      return number > 0 && (start + sectors) * 512 <= disk.length;
    })
    .map((numbers) => numbers.join(' '));
}

const disk = (): Buffer => Buffer.alloc(4 * MIB);
const linux = (start: number, sectors: number): DosEntry => ({ type: 0x83, start, sectors });
const extended = (start: number, sectors: number): DosEntry => ({ type: 5, start, sectors });

/** A disk with an extended partition at 2048 to 7168 whose first table is `entries`. */
function withFirstLogical(entries: readonly DosEntry[]): Buffer {
  const made = disk();
  putDosTable(made, 0, [linux(64, 1000), extended(2048, 5120)]);
  putDosTable(made, 2048, entries);
  putDosTable(made, 4096, [linux(64, 512)]);
  return made;
}

function boot(made: Buffer, name: string, fields: Readonly<Record<number, number>>): Buffer {
  made.write(name, 3, 'latin1');
  for (const [at, value] of Object.entries(fields)) made[Number(at)] = value;
  return made;
}

/** Fields of a FAT's boot sector: sectors of 512, clusters of 4, one reserved, two FATs of 9. */
const FAT = { 11: 0, 12: 2, 13: 4, 14: 1, 16: 2, 17: 224, 19: 0x40, 20: 0x0b, 21: 0xf0, 22: 9 };

function bsdInside(type: number, entries: Parameters<typeof putBsdLabel>[2]): Buffer {
  const made = disk();
  putDosTable(made, 0, [linux(64, 900), { type, start: 1024, sectors: 6000 }]);
  putBsdLabel(made, 1024, entries);
  return made;
}

const CASES: readonly (readonly [what: string, make: () => Buffer])[] = [
  [
    'entries without a type',
    () => withTable([{ type: 0, start: 100, sectors: 50 }, linux(200, 9)]),
  ],
  [
    'left-overs in the third and fourth entry of an extended table',
    () =>
      withFirstLogical([
        linux(64, 900),
        extended(2048, 2048),
        { type: 0x83, start: 5_000_000, sectors: 90_000, indicator: 0x80 },
        { type: 0x44, start: 0x41424344, sectors: 0x45464748, indicator: 0x37 },
      ]),
  ],
  [
    'a third entry that can be meant',
    () => withFirstLogical([linux(64, 100), extended(2048, 2048), linux(300, 100)]),
  ],
  [
    'a third entry that ends behind the room of its table',
    () => withFirstLogical([linux(64, 100), extended(2048, 2048), linux(300, 5000)]),
  ],
  [
    'a boot indicator that is none in an extended table',
    () => withFirstLogical([{ ...linux(64, 900), indicator: 1 }, extended(2048, 2048)]),
  ],
  ['the link in the first entry', () => withFirstLogical([extended(2048, 2048), linux(64, 100)])],
  ['a link to itself', () => withFirstLogical([linux(64, 900), extended(0, 2048)])],
  [
    'a link to itself before one that leads on',
    () => withFirstLogical([extended(0, 512), linux(64, 900), extended(2048, 2048)]),
  ],
  [
    'a link out of the extended partition',
    () => {
      const made = withFirstLogical([linux(64, 900), extended(5200, 512)]);
      putDosTable(made, 7248, [linux(10, 100)]);
      return made;
    },
  ],
  [
    'a logical partition that is there twice',
    () => withFirstLogical([linux(64, 900), linux(64, 900), extended(2048, 2048)]),
  ],
  ['a boot sector of FAT', () => boot(withTable([linux(64, 900)]), 'MSDOS5.0', FAT)],
  [
    'a boot sector of FAT but for its medium',
    () => boot(withTable([linux(64, 900)]), 'MSDOS5.0', { ...FAT, 21: 0x12 }),
  ],
  [
    'the name of NTFS without its file records',
    () => boot(withTable([linux(64, 900)]), 'NTFS    ', { 12: 2, 13: 8, 48: 4 }),
  ],
  [
    'a boot sector of NTFS',
    () => {
      const made = boot(withTable([linux(64, 900)]), 'NTFS    ', {
        ...{ 12: 2, 13: 8, 21: 0xf8, 40: 0xff, 41: 0x1f, 48: 4, 56: 8, 64: 0xf6, 68: 1 },
      });
      made.write('FILE', 4 * 8 * 512, 'latin1');
      made.write('FILE', 4 * 8 * 512 + 3 * 1024, 'latin1');
      return made;
    },
  ],
  ['a table of AIX', () => Buffer.concat([AIX, withTable([linux(64, 900)]).subarray(AIX.length)])],
  [
    'a FreeBSD label counted from its slice',
    () =>
      bsdInside(0xa5, [
        { type: 7, start: 16, sectors: 2000 },
        { type: 1, start: 2016, sectors: 500 },
        { type: 0, start: 0, sectors: 6000 },
        { type: 7, start: 3000, sectors: 1000 },
      ]),
  ],
  [
    'a FreeBSD label counted from the disk',
    () =>
      bsdInside(0xa5, [
        { type: 7, start: 1040, sectors: 2000 },
        null,
        { type: 0, start: 1024, sectors: 6000 },
        { type: 7, start: 4000, sectors: 1000 },
      ]),
  ],
  [
    'a NetBSD label with the slice and the disk in it',
    () =>
      bsdInside(0xa9, [
        { type: 7, start: 1024, sectors: 3000 },
        { type: 1, start: 4100, sectors: 500 },
        { type: 9, start: 1024, sectors: 6000 },
        { type: 9, start: 0, sectors: SECTORS },
        { type: 9, start: 5000, sectors: 100 },
      ]),
  ],
  [
    'an OpenBSD label whose count is too large',
    () =>
      bsdInside(0xa6, [
        { type: 7, start: 1100, sectors: 300 },
        { type: 8, start: 64, sectors: 900 },
      ]),
  ],
  [
    'a BSD label in a logical partition',
    () => {
      const made = withFirstLogical([
        { type: 0xa6, start: 64, sectors: 900 },
        extended(2048, 2048),
      ]);
      putBsdLabel(made, 2112, [{ type: 7, start: 2200, sectors: 100 }]);
      return made;
    },
  ],
  ['a slice of BSD without a label', () => withTable([{ type: 0xa5, start: 64, sectors: 900 }])],
  [
    'a BSD label over the whole disk',
    () => {
      const made = disk();
      putBsdLabel(made, 0, [
        { type: 7, start: 16, sectors: 4000 },
        { type: 1, start: 4016, sectors: 1000 },
        { type: 0, start: 0, sectors: SECTORS },
      ]);
      return made;
    },
  ],
  [
    "Sun's label",
    () => {
      const made = disk();
      putSunLabel(made, 64, [
        { type: 2, start: 1, sectors: 640 },
        { type: 3, start: 11, sectors: 640 },
        { type: 5, start: 0, sectors: SECTORS },
        null,
        { type: 8, start: 30, sectors: 1280 },
      ]);
      return made;
    },
  ],
  [
    "Sun's label without tags",
    () => {
      const made = disk();
      putSunLabel(made, 64, [{ type: 0, start: 1, sectors: 640 }, null, null], false);
      return made;
    },
  ],
  [
    'an Apple map',
    () => {
      const made = disk();
      putAppleMap(made, [
        { name: 'Apple', type: 'Apple_partition_map', start: 1, blocks: 63 },
        { name: 'disk', type: 'Apple_HFS', start: 64, blocks: 2000 },
        { name: '', type: 'Apple_Free', start: 2064, blocks: 128 },
      ]);
      return made;
    },
  ],
  [
    'an extended partition that begins with the disk',
    () => {
      const made = disk();
      putDosTable(made, 0, [extended(0, 6000), extended(64, 100)]);
      putDosTable(made, 64, [extended(512, 2000)]);
      putDosTable(made, 512, [linux(0, 512)]);
      return made;
    },
  ],
  [
    'two extended partitions that share a table',
    () => {
      const made = disk();
      putDosTable(made, 0, [extended(64, 4000), extended(100, 4000)]);
      putDosTable(made, 64, [linux(1, 10), extended(512, 500)]);
      putDosTable(made, 100, [linux(1, 10), extended(476, 500)]);
      putDosTable(made, 576, [linux(1, 10), extended(1000, 500)]);
      putDosTable(made, 1064, [linux(1, 10)]);
      putDosTable(made, 1100, [linux(1, 10)]);
      return made;
    },
  ],
  [
    'an Apple map of blocks of 2048 bytes',
    () => {
      const made = disk();
      const entry = { name: 'cd', type: 'Apple_HFS', start: 16, blocks: 500 };
      putAppleMap(
        made,
        [{ ...entry, type: 'Apple_partition_map', start: 1, blocks: 2 }, entry],
        2048,
      );
      return made;
    },
  ],
];

const AIX = Buffer.from([0xc9, 0xc2, 0xd4, 0xc1]);

function withTable(entries: readonly DosEntry[]): Buffer {
  const made = disk();
  putDosTable(made, 0, entries);
  return made;
}

describe.skipIf(isMissing('tables as libblkid reads them', 'partx'))('as libblkid reads it', () => {
  test.each(CASES)('%s', async (_what, make) => {
    const made = make();
    expect(ours(made)).toEqual(await theirs(made, tempFolder()));
  });

  test('any DOS table with logical partitions', async () => {
    const folder = tempFolder();
    const sector = fc.constantFrom(0, 1, 2, 3, 64, 100, 512, 2048, 4000);
    const entry = fc.record({
      type: fc.constantFrom(0, 5, 0x0f, 0x83, 0x83, 0x85),
      start: sector,
      sectors: fc.constantFrom(0, 1, 50, 100, 512, 2000, 6000),
      indicator: fc.constantFrom(0, 0, 0, 0x80, 1),
    });
    const table = fc.array(entry, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        table,
        fc.array(fc.tuple(sector, table), { maxLength: 6 }),
        async (first, more) => {
          const made = disk();
          for (const [at, entries] of more) putDosTable(made, at, entries);
          const primary = first.map((each) => ({ ...each, indicator: 0 }));
          putDosTable(made, 0, primary);
          expect(ours(made)).toEqual(await theirs(made, folder));
        },
      ),
      { numRuns: 150 },
    );
  });
});

interface Label {
  readonly file: string;
  readonly linux: readonly Inner[];
  readonly bsd?: readonly Inner[];
}

interface Inner {
  readonly number?: number;
  readonly inner: string;
  readonly start: number;
  readonly size: number;
  readonly sha256: string;
}

describe.skipIf(isMissing('labels of other systems', 'samples'))('a sample', () => {
  const folder = join(SAMPLES, 'volumes');
  const labels = isMissing('the list of labels', 'samples')
    ? []
    : (JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as { labels: Label[] })
        .labels;

  // libblkid finds no slices of newer Solaris and passes over the one for all of the slice, and it
  // finds a BSD label over the whole disk, which the kernel does not: here the manifest counts.
  test.each(labels.map((label) => [label.file, label] as const))(
    '%s',
    (file, { bsd, linux: list }) => {
      const made = gunzipSync(readFileSync(join(folder, file)));
      const { partitions } = tableOf(made);
      const isInner = list.some(({ number = 0 }) => number >= 5);
      const found = partitions.filter(({ number }) => !isInner || number >= 5);
      const wanted = bsd?.map((each, index) => ({ ...each, number: index + 1 })) ?? list;
      expect(
        found.map(({ label, letter, number, size, start, type }) => ({
          number,
          inner: letter === '' ? (type === '' ? label : type) : letter,
          start,
          size,
          sha256: createHash('sha256')
            .update(made.subarray(start, start + size))
            .digest('hex'),
        })),
      ).toEqual(wanted);
    },
  );
});

test('slices of Solaris have the numbers of Linux, that of the whole slice counted', () => {
  const made = disk();
  putDosTable(made, 0, [{ type: 0xbf, start: 1024, sectors: 6000 }]);
  putVtoc(made, 1024, [
    { type: 2, start: 100, sectors: 1000 },
    null,
    { type: 5, start: 0, sectors: 6000 },
    { type: 8, start: 2000, sectors: 9000 },
    { type: 8, start: 2000, sectors: 500 },
  ]);
  expect(ours(made)).toEqual(['1 1024 6000', '5 1124 1000', '6 1024 6000', '8 3024 500']);
  expect(tableOf(made).notices).toEqual([
    'slice s3 of the Solaris table ends outside its partition and is left out',
  ]);
});

test('tells letters, parents and names', () => {
  const [label] = CASES.filter(([what]) =>
    what.startsWith('a FreeBSD label counted from its slice'),
  );
  const { notices, partitions } = tableOf(label![1]());
  expect(notices).toEqual([]);
  expect(
    partitions.map(({ letter, number, parent, typeName }) => [number, letter, parent, typeName]),
  ).toEqual([
    [1, '', undefined, 'Linux'],
    [2, '', undefined, 'FreeBSD'],
    [5, 'a', 2, 'BSD UFS'],
    [6, 'b', 2, 'BSD swap'],
    [7, 'd', 2, 'BSD UFS'],
  ]);
});
