/** Disks of COWD and seSparse extents, of extents of several types, and over parents of every type. */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createImage } from '../../src/block/create-image.js';
import { writeCowdFile, type CowdShape } from './cowd-file.js';
import { chain, writeDescriptor } from './images.js';
import {
  contentOf,
  flatParent,
  grainsOf,
  pattern,
  type DiskKind,
  type MadeDisk,
  type MadeParent,
} from './made-disk.js';
import { writeSeSparseFile, type SeSparseShape } from './sesparse-file.js';
import { writeSparseFile } from './sparse-file.js';
import { streamDescriptor, writeStreamFile } from './stream-file.js';

const SECTOR = 512;
const KIB = 1024;
const MIB = 1024 * KIB;
const SESPARSE_GRAIN = 4 * KIB;

const NO_PARENT: MadeParent = { image: '', files: [], content: Buffer.alloc(0) };

/** The descriptor of a delta, with its parent where it has one. */
function describeDelta(folder: string, stem: string, line: string, parent: MadeParent): string {
  const image = join(folder, `${stem}.vmdk`);
  if (parent === NO_PARENT) writeDescriptor(image, [line]);
  else chain(image, [line], parent.image);
  return image;
}

/** A disk of one COWD extent: `stem.vmdk` and `stem-delta.vmdk`. */
export function cowdDisk(
  folder: string,
  stem: string,
  shape: CowdShape,
  parent: MadeParent = NO_PARENT,
): MadeParent {
  const file = join(folder, `${stem}-delta.vmdk`);
  writeCowdFile(file, shape);
  const line = `RW ${shape.sectors} VMFSSPARSE "${basename(file)}"`;
  const image = describeDelta(folder, stem, line, parent);
  const { grainSectors = 1, grains = new Map<number, Buffer>(), zeroed } = shape;
  const content = contentOf(shape.sectors, grainSectors * SECTOR, grains, parent.content, zeroed);
  return { image, files: [image, file], content };
}

/** A disk of one seSparse extent: `stem.vmdk` and `stem-sesparse.vmdk`. */
export function seSparseDisk(
  folder: string,
  stem: string,
  shape: SeSparseShape,
  parent: MadeParent = NO_PARENT,
): MadeParent {
  const file = join(folder, `${stem}-sesparse.vmdk`);
  writeSeSparseFile(file, shape);
  const line = `RW ${shape.sectors} SESPARSE "${basename(file)}"`;
  const image = describeDelta(folder, stem, line, parent);
  const { grains = new Map<number, Buffer>() } = shape;
  const zeroed = [...(shape.zeroed ?? []), ...(shape.unmapped ?? [])];
  const content = contentOf(shape.sectors, SESPARSE_GRAIN, grains, parent.content, zeroed);
  return { image, files: [image, file], content };
}

/** A disk of one stream: `stem.vmdk`. */
export function streamDisk(folder: string, stem: string, sectors: number): MadeParent {
  const image = join(folder, `${stem}.vmdk`);
  const grains = grainsOf(64 * KIB, 0, 3, 4, 9, 14);
  const descriptor = streamDescriptor(sectors, basename(image));
  writeStreamFile(image, { family: 'footer', sectors, grains, descriptor });
  return { image, files: [image], content: contentOf(sectors, 64 * KIB, grains) };
}

/** A disk that was made, to be written to; its descriptor is not inspected. */
function written(disk: MadeParent, ...parents: readonly MadeParent[]): MadeDisk {
  return {
    image: disk.image,
    sparseFiles: disk.files.slice(1),
    parents: parents.flatMap(({ files }) => files),
    content: disk.content,
  };
}

function cowd(name: string, shape: CowdShape): DiskKind {
  return { name, make: (folder) => written(cowdDisk(folder, 'disk', shape)) };
}

function seSparse(name: string, shape: SeSparseShape): DiskKind {
  return { name, make: (folder) => written(seSparseDisk(folder, 'disk', shape)) };
}

const cowdChild: DiskKind = {
  name: 'COWD child over a flat parent',
  make: (folder) => {
    const base = flatParent(folder, 'base', MIB);
    const shape = { sectors: 2500, grains: grainsOf(SECTOR, 3, 900), zeroed: new Set([5, 6, 901]) };
    return written(cowdDisk(folder, 'disk', shape, base), base);
  },
};

const cowdGrandchild: DiskKind = {
  name: 'COWD child over a COWD and a flat parent',
  make: (folder) => {
    const base = flatParent(folder, 'base', MIB);
    const sectors = MIB / SECTOR;
    const zeroed = new Set([5]);
    const lower = { sectors, grainSectors: 8, grains: grainsOf(4096, 1, 40, 99), zeroed };
    const middle = cowdDisk(folder, 'middle', lower, base);
    const upper = { sectors, grainSectors: 16, grains: grainsOf(8192, 2, 100) };
    return written(cowdDisk(folder, 'disk', upper, middle), base, middle);
  },
};

const seSparseChild: DiskKind = {
  name: 'seSparse child over a flat parent',
  make: (folder) => {
    const base = flatParent(folder, 'base', MIB);
    const shape = {
      sectors: MIB / SECTOR + 800,
      grains: grainsOf(SESPARSE_GRAIN, 7, 2, 255, 300),
      unmapped: new Set([3, 4]),
      zeroed: new Set([8, 254]),
    };
    return written(seSparseDisk(folder, 'disk', shape, base), base);
  },
};

const mixed: DiskKind = {
  name: 'extents of every type, of odd sizes, over a parent',
  make: (folder) => {
    const base = flatParent(folder, 'base', 3 * MIB);
    const sizes = { sparse: 777, cowd: 1333, seSparse: 1501, flat: 601 };
    const file = (name: string): string => join(folder, name);
    writeSparseFile(file('s1.vmdk'), {
      sectors: sizes.sparse,
      grainSectors: 128,
      tableEntries: 512,
    });
    writeCowdFile(file('s2.vmdk'), { sectors: sizes.cowd, grainSectors: 32, preExtend: 9999 });
    const grains = grainsOf(SESPARSE_GRAIN, 0, 187);
    writeSeSparseFile(file('s3.vmdk'), { sectors: sizes.seSparse, grains });
    const plain = pattern(sizes.flat * SECTOR, 9);
    writeFileSync(file('s4.vmdk'), plain);
    chain(
      file('disk.vmdk'),
      [
        `RW ${sizes.sparse} SPARSE "s1.vmdk"`,
        `RW ${sizes.cowd} VMFSSPARSE "s2.vmdk"`,
        `RW ${sizes.seSparse} SESPARSE "s3.vmdk"`,
        `RW ${sizes.flat} FLAT "s4.vmdk" 0`,
      ],
      base.image,
    );
    const start = (sizes.sparse + sizes.cowd) * SECTOR;
    const third = base.content.subarray(start, start + sizes.seSparse * SECTOR);
    const content = Buffer.concat([
      base.content.subarray(0, start),
      contentOf(sizes.seSparse, SESPARSE_GRAIN, grains, third),
      plain,
    ]);
    return {
      image: file('disk.vmdk'),
      sparseFiles: ['s1.vmdk', 's2.vmdk', 's3.vmdk'].map(file),
      parents: base.files,
      content,
    };
  },
};

/** A sparse child of our own making over a parent that `make` makes. */
function over(what: string, make: (folder: string) => MadeParent): DiskKind {
  return {
    name: `sparse child over ${what}`,
    make: (folder) => {
      const parent = make(folder);
      const image = join(folder, 'child.vmdk');
      createImage(image, { size: parent.content.length + 70 * KIB, backing: parent.image });
      const content = Buffer.concat([parent.content, Buffer.alloc(70 * KIB)]);
      return { image, sparseFiles: [image], parents: parent.files, content };
    },
  };
}

export const DELTA_KINDS: readonly DiskKind[] = [
  cowd('COWD, grains of a sector, two tables', {
    sectors: 5000,
    grains: grainsOf(SECTOR, 0, 1, 700, 4999),
    zeroed: new Set([2, 701]),
  }),
  cowd('COWD, grains of 128 sectors', { sectors: 5001, grainSectors: 128 }),
  cowd('COWD, pre-extended with 0xee behind the free sector', {
    sectors: 3000,
    grainSectors: 8,
    grains: grainsOf(4096, 9, 3),
    preExtend: MIB,
  }),
  cowd('COWD, free sector out of range', {
    sectors: 3000,
    grainSectors: 8,
    grains: grainsOf(4096, 9, 3),
    preExtend: 100 * KIB,
    freeSector: 0xffffffff,
  }),
  cowdChild,
  cowdGrandchild,
  seSparse('seSparse, empty', { sectors: 4096 }),
  seSparse('seSparse, shuffled, unmapped and zeroed grains, one of 0xff behind', {
    sectors: 4096,
    grains: grainsOf(SESPARSE_GRAIN, 1, 2, 3, 200, 511),
    order: [200, 3, 511, 1, 2],
    unmapped: new Set([4, 100]),
    zeroed: new Set([5, 101, 102]),
    trailingGrain: true,
  }),
  seSparseChild,
  seSparse('seSparse, no multiple of a grain', {
    sectors: 1003,
    grains: grainsOf(SESPARSE_GRAIN, 17),
  }),
  {
    ...seSparse('seSparse, two tables', {
      sectors: (16 * MIB) / SECTOR + 999,
      grains: grainsOf(SESPARSE_GRAIN, 4100, 7),
    }),
    isLarge: true,
  },
  mixed,
  over('a streamOptimized parent', (folder) => streamDisk(folder, 'base', 2001)),
  over('a COWD parent', (folder) =>
    cowdDisk(folder, 'base', {
      sectors: 2001,
      grainSectors: 8,
      grains: grainsOf(4096, 0, 77, 250),
      zeroed: new Set([1]),
    }),
  ),
  over('a seSparse parent', (folder) =>
    seSparseDisk(folder, 'base', {
      sectors: 2001,
      grains: grainsOf(SESPARSE_GRAIN, 0, 77, 250),
      zeroed: new Set([1]),
      unmapped: new Set([2]),
    }),
  ),
];
