/**
 * Small images of every format, made by the builders of the tests, which the fuzzer damages. They
 * are the same in every run: a case is known by its numbers alone.
 */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCowdFile } from '../helpers/cowd-file.js';
import { writeOva, type OvaOptions } from '../helpers/ova-file.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { writeSeSparseFile } from '../helpers/sesparse-file.js';
import { writeSparseFile, type SparseShape } from '../helpers/sparse-file.js';
import { STREAM_FAMILIES, writeStreamFile, type StreamShape } from '../helpers/stream-file.js';
import { loadFiles, SeedFile } from './seed-files.js';
import { placesOf, type SeedPlaces } from './seed-places.js';

const SECTOR = 512;

/** An image, and what of it can be damaged to some purpose. */
export interface Seed {
  readonly name: string;
  /** The file that is opened. */
  readonly image: string;
  /** Which disk of an archive. */
  readonly disk: string | undefined;
  readonly files: readonly SeedFile[];
  readonly places: SeedPlaces;
}

interface Recipe {
  readonly name: string;
  readonly image?: string;
  readonly disk?: string;
  make(folder: string): void;
}

function pattern(length: number, seed: number): Buffer {
  return Buffer.from(
    Uint8Array.from({ length }, (_, index) => ((index * 31 + seed * 17) % 255) + 1),
  );
}

function descriptor(lines: readonly string[], more: readonly string[] = [], cid = '0badcafe') {
  return [
    '# Disk DescriptorFile',
    'version=1',
    'encoding="UTF-8"',
    `CID=${cid}`,
    ...(more.some((line) => line.startsWith('parentCID')) ? [] : ['parentCID=ffffffff']),
    'createType="custom"',
    ...more,
    '',
    '# Extent description',
    ...lines,
    '',
    '# The Disk Data Base',
    'ddb.adapterType = "lsilogic"',
    `ddb.longContentID = "0123456789abcdef012345670badcafe"`,
    '',
  ].join('\n');
}

const childOf = (hint: string): string[] => ['parentCID=0badcafe', `parentFileNameHint="${hint}"`];

/** A hosted sparse file with some grains in its tables, both copies, and one zeroed entry. */
function hosted(path: string, shape: SparseShape, grains: readonly number[]): void {
  writeSparseFile(path, shape);
  const directories = [56, ...(((shape.flags ?? 3) & 2) === 0 ? [] : [48])];
  grains.forEach((grain, index) => {
    const file = readFileSync(path);
    const place = Math.ceil(file.length / SECTOR / shape.grainSectors) * shape.grainSectors;
    for (const at of directories) {
      const directory = Number(peek(path, at, 8).readBigUInt64LE()) * SECTOR;
      const table = Math.floor(grain / shape.tableEntries);
      const start = peek(path, directory + table * 4, 4).readUInt32LE() * SECTOR;
      const slot = start + (grain % shape.tableEntries) * 4;
      poke(path, slot, littleEndian(index === 1 ? 1 : place, 4));
    }
    if (index !== 1) poke(path, place * SECTOR, pattern(shape.grainSectors * SECTOR, grain));
  });
}

const SHAPE = { sectors: 3000, grainSectors: 8, tableEntries: 128 };
const HELD = [0, 1, 2, 5, 127, 128, 130, 374];

function flat(folder: string, name: string, sectors: number): void {
  writeFileSync(join(folder, name), pattern(sectors * SECTOR, sectors));
}

/** A flat base for a child. */
function base(folder: string, sectors: number): void {
  flat(folder, 'base-flat.vmdk', sectors);
  const text = descriptor([`RW ${sectors} FLAT "base-flat.vmdk" 0`]);
  writeFileSync(join(folder, 'base.vmdk'), text);
}

function lone(name: string, more: Partial<SparseShape>, lines: readonly string[] = []): Recipe {
  return {
    name,
    make: (folder) => {
      const text = descriptor([`RW ${SHAPE.sectors} SPARSE "disk.vmdk"`], lines, 'badcafe');
      const shape = { ...SHAPE, descriptor: text, ...more };
      hosted(join(folder, 'disk.vmdk'), shape, more.withTables === false ? [] : HELD);
    },
  };
}

function streamGrains(count: number, grainSectors: number): Map<number, Buffer> {
  const grains = Array.from({ length: count }, (_, index) => index * index);
  return new Map(grains.map((grain) => [grain, pattern(grainSectors * SECTOR, grain)]));
}

function stream(path: string, more: Partial<StreamShape>): void {
  const shape = { family: 'footer' as const, sectors: 2505, grainSectors: 16, tableEntries: 128 };
  const text = descriptor([`RDONLY ${shape.sectors} SPARSE "x.vmdk"`]);
  writeStreamFile(path, { ...shape, grains: streamGrains(13, 16), descriptor: text, ...more });
}

const STREAMS: readonly Recipe[] = STREAM_FAMILIES.map((family, index) => ({
  name: `stream ${family}`,
  make: (folder) => {
    const junk = index === 0 ? pattern(700, 1) : undefined;
    const more = { family, progressMarkers: index === 1, shortLast: index > 1 };
    stream(join(folder, 'disk.vmdk'), junk === undefined ? more : { ...more, junk });
  },
}));

function split(folder: string): void {
  hosted(join(folder, 'disk-s001.vmdk'), SHAPE, HELD);
  stream(join(folder, 'disk-s002.vmdk'), { withoutMarkerLba: true, descriptor: undefined });
  const third = { sectors: 777, grainSectors: 16, tableEntries: 512, flags: 1 };
  hosted(join(folder, 'disk-s003.vmdk'), third, [0, 3]);
  flat(folder, 'disk-f004.vmdk', 90);
  const lines = [
    'RW 3000 SPARSE "disk-s001.vmdk"',
    'RW 2505 SPARSE "disk-s002.vmdk"',
    'RW 16 ZERO ',
    'RW 777 SPARSE "disk-s003.vmdk"',
    'RW 40 FLAT "disk-f004.vmdk" 5',
    'RW 40 VMFS "disk-f004.vmdk" 45',
    'NOACCESS 9 FLAT "disk-f004.vmdk" 0',
  ];
  writeFileSync(join(folder, 'disk.vmdk'), descriptor(lines));
}

function cowd(folder: string, hint: readonly string[]): void {
  const grains = new Map([0, 1, 3, 4096, 5000].map((each) => [each, pattern(1024, each)]));
  const shape = { sectors: 20001, grainSectors: 2, grains, zeroed: new Set([7]) };
  writeCowdFile(join(folder, 'disk-delta.vmdk'), { ...shape, preExtend: 8192 });
  const text = descriptor(['RW 20001 VMFSSPARSE "disk-delta.vmdk"'], hint);
  writeFileSync(join(folder, 'disk.vmdk'), text);
}

function seSparse(folder: string): void {
  base(folder, 1200);
  const grains = new Map([9, 0, 1, 4096, 4098].map((each) => [each, pattern(4096, each)]));
  const shape = { sectors: 70000, grains, unmapped: new Set([5]), zeroed: new Set([6]) };
  writeSeSparseFile(join(folder, 'disk-sesparse.vmdk'), { ...shape, trailingGrain: true });
  const text = descriptor(['RW 70000 SESPARSE "disk-sesparse.vmdk"'], childOf('base.vmdk'));
  writeFileSync(join(folder, 'disk.vmdk'), text);
}

/** A sparse child over a stream over a flat base. */
function threeLayers(folder: string, hint: string): void {
  base(folder, 2000);
  const middle = descriptor(['RDONLY 2505 SPARSE "m.vmdk"'], childOf('base.vmdk'));
  stream(join(folder, 'middle.vmdk'), { family: 'front', descriptor: middle });
  const text = descriptor(['RW 3000 SPARSE "disk.vmdk"'], childOf(hint));
  hosted(join(folder, 'disk.vmdk'), { ...SHAPE, version: 2, flags: 7, descriptor: text }, HELD);
}

/** A sparse header that only wraps the descriptor of flat extents. */
function wrapper(folder: string): void {
  flat(folder, 'disk-flat.vmdk', 300);
  const text = descriptor(['RW 300 FLAT "disk-flat.vmdk" 0']);
  writeSparseFile(join(folder, 'disk.vmdk'), { ...SHAPE, sectors: 0, descriptor: text });
  truncateSync(join(folder, 'disk.vmdk'), 21 * SECTOR);
}

function archive(name: string, options: OvaOptions, disk?: string): Recipe {
  return {
    name: `archive, ${name}`,
    image: 'disk.ova',
    ...(disk === undefined ? {} : { disk }),
    make: (folder) => {
      const parts = mkdtempSync(join(tmpdir(), 'vmdkfs-fuzz-'));
      threeLayers(parts, 'middle.vmdk');
      const members = loadFiles(parts).map(({ name: file, bytes }) => ({ name: file, bytes }));
      rmSync(parts, { recursive: true });
      const only = members.filter((member) => member.name === 'base-flat.vmdk');
      const text = Buffer.from(descriptor(['RW 2000 FLAT "base-flat.dat" 0']));
      const lone = [
        { name: 'a.ovf', bytes: Buffer.from('<Envelope/>') },
        { name: 'disk.vmdk', bytes: text },
        ...only.map(({ bytes }) => ({ name: 'base-flat.dat', bytes })),
      ];
      writeOva(join(folder, 'disk.ova'), disk === undefined ? lone : members, options);
    },
  };
}

const TRACKED = ['changeTrackPath="disk-ctk.vmdk"', 'ddb.uuid = "60 00 C2 9d"'];

const RECIPES: readonly Recipe[] = [
  lone('sparse', {}),
  lone('sparse, one directory', { flags: 5, version: 2 }),
  lone('sparse, no tables', { withTables: false }),
  lone('sparse, tracked', { version: 3 }, TRACKED),
  ...STREAMS,
  { name: 'split', make: split },
  {
    name: 'COWD',
    make: (folder) => {
      cowd(folder, []);
    },
  },
  {
    name: 'COWD child',
    make: (folder) => {
      base(folder, 900);
      cowd(folder, childOf('base.vmdk'));
    },
  },
  { name: 'seSparse child', make: seSparse },
  {
    name: 'flat',
    image: 'base.vmdk',
    make: (folder) => {
      base(folder, 500);
    },
  },
  { name: 'wrapper', make: wrapper },
  {
    name: 'three layers',
    make: (folder) => {
      threeLayers(folder, 'C:\\vm\\middle.vmdk');
    },
  },
  archive('ustar', {}, '3'),
  archive('GNU', { names: 'gnu' }),
  archive('pax', { names: 'pax' }, 'middle.vmdk'),
  archive('base-256', { base256Sizes: true }),
];

/** Makes all seeds. */
export function makeSeeds(): Seed[] {
  return RECIPES.map((recipe) => {
    const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-fuzz-'));
    try {
      recipe.make(folder);
      const files = loadFiles(folder);
      return {
        name: recipe.name,
        image: recipe.image ?? 'disk.vmdk',
        disk: recipe.disk,
        files: files.map(({ name, bytes }) => new SeedFile(name, bytes)),
        places: placesOf(files),
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
