/**
 * Tiny disks of every make that the engine writes. They are made once on the real host; the tests
 * load their files into memory.
 */
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createImage } from '../../src/block/create-image.js';
import { writeCowdFile } from '../helpers/cowd-file.js';
import { pattern } from '../helpers/made-disk.js';
import { chain, writeDescriptor } from '../helpers/images.js';
import { littleEndian, poke } from '../helpers/poke.js';
import { writeSeSparseFile } from '../helpers/sesparse-file.js';
import { writeSparseFile, type SparseShape } from '../helpers/sparse-file.js';

const SECTOR = 512;
const KIB = 1024;
const MIB = 1024 * KIB;

/** A stretch of a disk that is written to and looked at; bytes. */
interface Zone {
  readonly start: number;
  readonly length: number;
}

/** A disk as it is before anything is written. */
export interface TinyDisk {
  readonly name: string;
  /** The file to open. */
  readonly image: string;
  /** By their names; those of parents begin with `base`. */
  readonly files: ReadonlyMap<string, Buffer>;
  readonly zones: readonly Zone[];
  /** What the zones hold, one behind the other. */
  readonly content: Buffer;
  /** Bytes of its smallest grain, for places worth writing at. */
  readonly grainBytes: number;
  /** Whether QEMU opens it. */
  readonly isForQemu: boolean;
}

interface Shape {
  readonly name: string;
  readonly grainBytes: number;
  /** Default: the first `size` bytes. */
  readonly zones?: readonly Zone[];
  readonly size: number;
  readonly isForQemu?: boolean;
  /** Makes the files in `folder`, the image `disk.vmdk`; returns what the disk holds from 0 on. */
  readonly make: (folder: string) => Buffer;
}

const IMAGE = 'disk.vmdk';

function made(shape: Shape): TinyDisk {
  const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-crash-'));
  try {
    const held = shape.make(folder);
    const names = readdirSync(folder).sort();
    const zones = shape.zones ?? [{ start: 0, length: shape.size }];
    const parts = zones.map(({ length, start }) => {
      const part = Buffer.alloc(length);
      held.subarray(start, start + length).copy(part);
      return part;
    });
    return {
      name: shape.name,
      image: IMAGE,
      files: new Map(names.map((name) => [name, readFileSync(join(folder, name))])),
      zones,
      content: Buffer.concat(parts),
      grainBytes: shape.grainBytes,
      isForQemu: shape.isForQemu ?? false,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The beginning of a disk and what lies on both sides of `border`. */
function around(border: number, size: number): Zone[] {
  const start = border - 10 * KIB;
  return [
    { start: 0, length: 20 * KIB },
    { start, length: Math.min(size, border + 10 * KIB) - start },
  ];
}

const NOTHING = Buffer.alloc(0);

/** A descriptor for inside a sparse file; its CID lies across the border of two sectors. */
function embedded(sectors: number, parentCid = 'ffffffff', hint = ''): string {
  const start = '# Disk DescriptorFile\nversion=1\n';
  const padding = `#${'-'.repeat(SECTOR - start.length - 'CID=0bad'.length - 2)}\n`;
  return `${start}${padding}CID=0badcafe\nparentCID=${parentCid}\n${hint}createType="monolithicSparse"\n\nRW ${sectors} SPARSE "${IMAGE}"\n`;
}

function lone(name: string, shape: SparseShape, zones?: readonly Zone[]): TinyDisk {
  const { sectors } = shape;
  return made({
    name,
    size: sectors * SECTOR,
    grainBytes: shape.grainSectors * SECTOR,
    ...(zones === undefined ? {} : { zones }),
    isForQemu: true,
    make: (folder) => {
      writeSparseFile(join(folder, IMAGE), { ...shape, descriptor: embedded(sectors) });
      return NOTHING;
    },
  });
}

const PARENT = 'base.vmdk';
const PARENT_CID = '12345678';

/** A flat parent; what it holds. */
function flatParent(folder: string, sectors: number): Buffer {
  const content = pattern(sectors * SECTOR, 1);
  writeFileSync(join(folder, 'base-flat.vmdk'), content);
  writeDescriptor(join(folder, PARENT), [`RW ${sectors} FLAT "base-flat.vmdk" 0`], {
    cid: PARENT_CID,
    createType: 'monolithicFlat',
  });
  return content;
}

function child(name: string, shape: SparseShape): TinyDisk {
  const { sectors } = shape;
  return made({
    name,
    size: sectors * SECTOR,
    grainBytes: shape.grainSectors * SECTOR,
    isForQemu: true,
    make: (folder) => {
      const content = flatParent(folder, sectors - 37);
      const hint = `parentFileNameHint="${PARENT}"\n`;
      writeSparseFile(join(folder, IMAGE), {
        ...shape,
        descriptor: embedded(sectors, PARENT_CID, hint),
      });
      return content;
    },
  });
}

function split(): TinyDisk {
  const shapes = [
    { sectors: 77, grainSectors: 8, tableEntries: 128 },
    { sectors: 101, grainSectors: 4, tableEntries: 512, withTables: false },
    { sectors: 39, grainSectors: 1, tableEntries: 128, flags: 1 },
  ];
  return made({
    name: 'split, three extents of odd sizes',
    size: shapes.reduce((sum, { sectors }) => sum + sectors * SECTOR, 0),
    grainBytes: SECTOR,
    make: (folder) => {
      const lines = shapes.map((shape, index) => {
        writeSparseFile(join(folder, `disk-s00${index + 1}.vmdk`), shape);
        return `RW ${shape.sectors} SPARSE "disk-s00${index + 1}.vmdk"`;
      });
      writeDescriptor(join(folder, IMAGE), lines);
      return NOTHING;
    },
  });
}

/** As a crash leaves it between two directories: each of them leads to a table that the other lacks. */
function halfMade(): TinyDisk {
  const shape = { sectors: 600, grainSectors: 1, tableEntries: 128 };
  const size = shape.sectors * SECTOR;
  // Directories in sectors 21 and 27, five tables of one sector behind each, grains from 33 on.
  const pokes = [
    [27 * SECTOR, 0],
    [22 * SECTOR + 4 * 3, 33],
    [21 * SECTOR + 4, 0],
    [29 * SECTOR + 4 * 2, 34],
  ] as const;
  return made({
    name: 'sparse, two tables in one directory only, not closed',
    size,
    zones: [
      { start: 0, length: 10 * KIB },
      { start: 60 * KIB, length: 10 * KIB },
      { start: 190 * KIB, length: 4 * KIB },
    ],
    grainBytes: SECTOR,
    make: (folder) => {
      const file = join(folder, IMAGE);
      writeSparseFile(file, { ...shape, descriptor: embedded(shape.sectors) });
      const grains = pattern(2 * SECTOR, 6);
      appendFileSync(file, grains);
      for (const [offset, value] of pokes) poke(file, offset, littleEndian(value, 4));
      poke(file, 72, Buffer.of(1));
      const content = Buffer.alloc(size);
      grains.copy(content, 3 * SECTOR, 0, SECTOR);
      grains.copy(content, 130 * SECTOR, SECTOR);
      return content;
    },
  });
}

function cowd(grainSectors: number, tableSectors: number): TinyDisk {
  const sectors = tableSectors + 31;
  const size = sectors * SECTOR;
  return made({
    name: `COWD, grains of ${grainSectors * SECTOR} B, over a flat parent`,
    size,
    zones: around(tableSectors * SECTOR, size),
    grainBytes: grainSectors * SECTOR,
    make: (folder) => {
      const content = flatParent(folder, 100);
      const delta = join(folder, 'disk-delta.vmdk');
      writeCowdFile(delta, { sectors, grainSectors, preExtend: 32 * KIB });
      chain(
        join(folder, IMAGE),
        [`RW ${sectors} VMFSSPARSE "disk-delta.vmdk"`],
        join(folder, PARENT),
      );
      return content;
    },
  });
}

function seSparse(): TinyDisk {
  const size = 16 * MIB + 12 * KIB;
  const grain = 4 * KIB;
  return made({
    name: 'seSparse over a flat parent',
    size,
    zones: around(16 * MIB, size),
    grainBytes: grain,
    make: (folder) => {
      const content = flatParent(folder, 70);
      const first = pattern(grain, 9);
      const delta = join(folder, 'disk-sesparse.vmdk');
      const { tablesOffset } = writeSeSparseFile(delta, {
        sectors: size / SECTOR,
        grains: new Map([[1, first]]),
        unmapped: new Set([2]),
        zeroed: new Set([3]),
      });
      // Tables that are not in use hold what nobody may take for entries.
      poke(delta, tablesOffset + 32 * KIB, Buffer.alloc(64 * KIB, 0xee));
      const line = `RW ${size / SECTOR} SESPARSE "disk-sesparse.vmdk"`;
      chain(join(folder, IMAGE), [line], join(folder, PARENT));
      first.copy(content, grain);
      return content.fill(0, 2 * grain, 4 * grain);
    },
  });
}

function flat(): TinyDisk {
  const content = pattern(45 * SECTOR, 3);
  return made({
    name: 'two flat extents, one in the middle of its file',
    size: content.length,
    grainBytes: SECTOR,
    make: (folder) => {
      const first = content.subarray(0, 20 * SECTOR);
      const around = Buffer.alloc(3 * SECTOR, 0xee);
      writeFileSync(join(folder, 'disk-f001.vmdk'), Buffer.concat([around, first, around]));
      writeFileSync(join(folder, 'disk-f002.vmdk'), content.subarray(20 * SECTOR));
      writeDescriptor(
        join(folder, IMAGE),
        ['RW 20 FLAT "disk-f001.vmdk" 3', 'RW 25 VMFS "disk-f002.vmdk" 0'],
        { createType: 'twoGbMaxExtentFlat' },
      );
      return content;
    },
  });
}

function created(): TinyDisk {
  const size = 160 * KIB;
  return made({
    name: 'monolithicSparse of our own making',
    size,
    grainBytes: 64 * KIB,
    isForQemu: true,
    make: (folder) => {
      createImage(join(folder, IMAGE), { size, backing: undefined });
      return NOTHING;
    },
  });
}

/** Every make of disk; made when it is called. */
export const TINY_DISKS: readonly (() => TinyDisk)[] = [
  created,
  () =>
    lone(
      'sparse, grains of 512 B, two tables of 4 sectors',
      { sectors: 600, grainSectors: 1, tableEntries: 512 },
      around(256 * KIB, 300 * KIB),
    ),
  () =>
    lone(
      'sparse without redundant tables',
      { sectors: 1100, grainSectors: 8, tableEntries: 128, flags: 1 },
      around(512 * KIB, 550 * KIB),
    ),
  () =>
    lone(
      'sparse without tables',
      { sectors: 600, grainSectors: 1, tableEntries: 512, withTables: false },
      around(256 * KIB, 300 * KIB),
    ),
  () =>
    lone(
      'sparse with zeroed grains',
      { sectors: 530, grainSectors: 4, tableEntries: 128, version: 2, flags: 7 },
      around(256 * KIB, 265 * KIB),
    ),
  halfMade,
  split,
  () => child('child over a flat parent', { sectors: 120, grainSectors: 16, tableEntries: 512 }),
  () =>
    child('child with zeroed grains, without tables, over a flat parent', {
      sectors: 101,
      grainSectors: 8,
      tableEntries: 512,
      version: 2,
      flags: 7,
      withTables: false,
    }),
  () => cowd(1, 4096),
  () => cowd(16, 16 * 4096),
  seSparse,
  flat,
];
