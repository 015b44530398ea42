/** Small disks of every make that the engine writes, for tests that run on all of them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { DELTA_KINDS } from './delta-kinds.js';
import { chain, writeDescriptor } from './images.js';
import { flatParent, pattern, type DiskKind } from './made-disk.js';
import { writeSparseFile } from './sparse-file.js';

const SECTOR = 512;
const KIB = 1024;
const MIB = 1024 * KIB;

const embedded = (sectors: number, name: string): string =>
  `# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID=ffffffff\ncreateType="monolithicSparse"\n\nRW ${sectors} SPARSE "${name}"\n`;

function lone(
  name: string,
  shape: Omit<Parameters<typeof writeSparseFile>[1], 'descriptor'>,
): DiskKind {
  return {
    name,
    make: (folder) => {
      const image = join(folder, 'disk.vmdk');
      writeSparseFile(image, { ...shape, descriptor: embedded(shape.sectors, 'disk.vmdk') });
      return {
        image,
        sparseFiles: [image],
        parents: [],
        content: Buffer.alloc(shape.sectors * SECTOR),
      };
    },
  };
}

const created: DiskKind = {
  name: 'monolithicSparse of our own making, 3 MiB and a sector',
  make: (folder) => {
    const image = join(folder, 'disk.vmdk');
    const size = createImage(image, { size: 3 * MIB + 1, backing: undefined });
    return { image, sparseFiles: [image], parents: [], content: Buffer.alloc(size) };
  },
};

const flat: DiskKind = {
  name: 'monolithicFlat',
  make: (folder) => {
    const { content, image } = flatParent(folder, 'disk', 2 * MIB);
    return { image, sparseFiles: [], parents: [], content };
  },
};

const splitFlat: DiskKind = {
  name: 'twoGbMaxExtentFlat with offsets, VMFS and a ZERO extent',
  make: (folder) => {
    const first = pattern(MIB, 2);
    const second = pattern(300 * KIB, 3);
    writeFileSync(
      join(folder, 'f001.vmdk'),
      Buffer.concat([Buffer.alloc(5 * SECTOR, 255), first, Buffer.alloc(99, 255)]),
    );
    writeFileSync(join(folder, 'f002.vmdk'), second);
    writeDescriptor(join(folder, 'disk.vmdk'), [
      `RW ${first.length / SECTOR} FLAT "f001.vmdk" 5`,
      `RW ${second.length / SECTOR} VMFS "f002.vmdk"`,
    ]);
    return {
      image: join(folder, 'disk.vmdk'),
      sparseFiles: [],
      parents: [],
      content: Buffer.concat([first, second]),
    };
  },
};

/** Extents of unequal, odd sizes, so that requests cross their borders anywhere in a grain. */
function splitSparse(
  folder: string,
  stem: string,
): { lines: string[]; files: string[]; bytes: number } {
  const shapes = [
    { sectors: 777, grainSectors: 16, tableEntries: 128 },
    { sectors: 2049, grainSectors: 128, tableEntries: 512, withTables: false },
    { sectors: 1500, grainSectors: 8, tableEntries: 128 },
  ];
  const files = shapes.map((shape, index) => {
    const file = join(folder, `${stem}-s00${index + 1}.vmdk`);
    writeSparseFile(file, shape);
    return file;
  });
  const lines = shapes.map(
    ({ sectors }, index) => `RW ${sectors} SPARSE "${stem}-s00${index + 1}.vmdk"`,
  );
  return { lines, files, bytes: shapes.reduce((sum, { sectors }) => sum + sectors * SECTOR, 0) };
}

const split: DiskKind = {
  name: 'twoGbMaxExtentSparse of three unequal extents',
  make: (folder) => {
    const { bytes, files, lines } = splitSparse(folder, 'disk');
    writeDescriptor(join(folder, 'disk.vmdk'), lines);
    return {
      image: join(folder, 'disk.vmdk'),
      sparseFiles: files,
      parents: [],
      content: Buffer.alloc(bytes),
    };
  },
};

/** Writes `data` at `offset` of a fresh parent through the engine. */
function fill(image: string, data: Buffer, offset: number): void {
  const { device } = openImage(image, { readOnly: false });
  device.write(data, 0, data.length, offset);
  device.close();
}

const splitChild: DiskKind = {
  name: 'split child over a split parent that is shorter',
  make: (folder) => {
    const parent = splitSparse(folder, 'base');
    const base = join(folder, 'base.vmdk');
    writeDescriptor(base, parent.lines.slice(0, 2));
    const parentBytes = (777 + 2049) * SECTOR;
    const content = Buffer.alloc(parent.bytes);
    const data = pattern(900 * KIB, 4);
    fill(base, data, 100 * KIB + 7);
    data.copy(content, 100 * KIB + 7);
    content.fill(0, parentBytes);
    const child = splitSparse(folder, 'disk');
    chain(join(folder, 'disk.vmdk'), child.lines, base);
    const parents = [base, ...parent.files.slice(0, 2)];
    return { image: join(folder, 'disk.vmdk'), sparseFiles: child.files, parents, content };
  },
};

const flatChild: DiskKind = {
  name: 'sparse child of our own making over a flat parent',
  make: (folder) => {
    const { image: base, content } = flat.make(folder);
    const image = join(folder, 'child.vmdk');
    createImage(image, { size: content.length + 70 * KIB, backing: base });
    const parents = [base, join(folder, 'disk-flat.vmdk')];
    return {
      image,
      sparseFiles: [image],
      parents,
      content: Buffer.concat([content, Buffer.alloc(70 * KIB)]),
    };
  },
};

const zeroedChild: DiskKind = {
  name: 'child with zeroed grains over a grandparent and a parent',
  make: (folder) => {
    const base = flat.make(folder);
    const middle = join(folder, 'middle.vmdk');
    createImage(middle, { size: undefined, backing: base.image });
    const data = pattern(200 * KIB, 5);
    fill(middle, data, 64 * KIB + 1);
    const content = Buffer.from(base.content);
    data.copy(content, 64 * KIB + 1);
    const cid = /^CID=([0-9a-f]+)/m.exec(readFileSync(middle).toString('latin1'))?.[1] ?? '';
    const sectors = content.length / SECTOR;
    const image = join(folder, 'child.vmdk');
    const descriptor = embedded(sectors, 'child.vmdk').replace(
      'parentCID=ffffffff',
      `parentCID=${cid}\nparentFileNameHint="middle.vmdk"`,
    );
    writeSparseFile(image, {
      sectors,
      grainSectors: 32,
      tableEntries: 128,
      version: 2,
      flags: 7,
      descriptor,
    });
    const parents = [base.image, join(folder, 'disk-flat.vmdk'), middle];
    return { image, sparseFiles: [image], parents, content };
  },
};

/** Every make of disk whose bytes the engine changes. */
export const DISK_KINDS: readonly DiskKind[] = [
  created,
  lone('sparse, grains of 4 KiB, 16 tables', {
    sectors: 16001,
    grainSectors: 8,
    tableEntries: 128,
  }),
  lone('sparse, tables of 64 entries', {
    sectors: 3000,
    grainSectors: 8,
    tableEntries: 64,
  }),
  lone('sparse without tables', {
    sectors: 9000,
    grainSectors: 8,
    tableEntries: 128,
    withTables: false,
  }),
  lone('sparse without a redundant directory', {
    sectors: 5000,
    grainSectors: 16,
    tableEntries: 128,
    flags: 1,
  }),
  lone('sparse with zeroed grains', {
    sectors: 6000,
    grainSectors: 16,
    tableEntries: 512,
    version: 2,
    flags: 7,
  }),
  lone('sparse, grains of one sector', {
    sectors: 700,
    grainSectors: 1,
    tableEntries: 128,
    withTables: false,
  }),
  flat,
  splitFlat,
  split,
  splitChild,
  flatChild,
  zeroedChild,
  ...DELTA_KINDS,
];
