/**
 * Tiny children with parents of several makes, both with something in them, and a second child of
 * the same parent. They are made once on the real host; the tests load their files into memory.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createImage } from '../../src/block/create-image.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { readAll } from '../helpers/disk-reading.js';
import { flatParent } from '../helpers/made-disk.js';
import { CHILD_KINDS, scribbleSmall } from '../helpers/made-child.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { Random } from './random.js';

const SECTOR = 512;
const KIB = 1024;

/** A child `top.vmdk` of `base.vmdk`, of which `second.vmdk` is an empty child too. */
export interface MergePair {
  readonly name: string;
  readonly files: ReadonlyMap<string, Buffer>;
  /** What the child shows, and what the parent held before. */
  readonly content: Buffer;
  readonly before: Buffer;
}

interface Shape {
  readonly name: string;
  readonly size: number;
  readonly makeParent: (folder: string, base: string, size: number) => void;
  readonly makeChild: (folder: string, base: string, size: number) => void;
}

function created(subformat: Subformat) {
  return (_folder: string, image: string, size: number): void => {
    createImage(image, { size, backing: undefined, subformat });
  };
}

function childKind(name: string) {
  return (folder: string, base: string, size: number): void => {
    const kind = CHILD_KINDS.find((each) => each.name.startsWith(name));
    if (kind === undefined) throw new Error(`no kind of child is called ${name}`);
    kind.make(folder, base, size);
  };
}

/** A descriptor whose line `key=12345678` lies across the border of two sectors. */
function acrossBorder(key: string, before: readonly string[], after: readonly string[]): string {
  const start = ['# Disk DescriptorFile', 'version=1', ...before, ''].join('\n');
  const padding = `#${'-'.repeat(SECTOR - start.length - `${key}=1234`.length - 2)}`;
  return `${start}${padding}\n${[`${key}=12345678`, ...after, ''].join('\n')}`;
}

function parentAcrossBorder(_folder: string, base: string, size: number): void {
  const sectors = size / SECTOR;
  const after = [
    'parentCID=ffffffff',
    'createType="monolithicSparse"',
    `RW ${sectors} SPARSE "base.vmdk"`,
  ];
  writeSparseFile(base, {
    sectors,
    grainSectors: 4,
    tableEntries: 128,
    version: 2,
    flags: 7,
    descriptor: acrossBorder('CID', [], after),
  });
}

function childAcrossBorder(folder: string, base: string, size: number): void {
  const sectors = size / SECTOR;
  const cid = /^CID=([0-9a-f]{8})/m.exec(readFileSync(base).toString('latin1'))?.[1] ?? '';
  const after = [
    'parentFileNameHint="base.vmdk"',
    'createType="monolithicSparse"',
    `RW ${sectors} SPARSE "top.vmdk"`,
  ];
  const descriptor = acrossBorder('parentCID', ['CID=0badcafe'], after);
  writeSparseFile(join(folder, 'top.vmdk'), {
    sectors,
    grainSectors: 8,
    tableEntries: 512,
    version: 2,
    flags: 7,
    withTables: false,
    descriptor: descriptor.replace('parentCID=12345678', `parentCID=${cid}`),
  });
}

/** What VirtualBox says of an image; the lines lie in another sector than the CID. */
function knownToVirtualBox(
  sectors: number,
  name: string,
  uuids: { image: string; modification: string; parent: string; parentModification: string },
): string {
  return [
    '# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID=ffffffff',
    `createType="monolithicSparse"\nRW ${sectors} SPARSE "${name}"`,
    `#${'-'.repeat(SECTOR)}`,
    `ddb.uuid.image="${uuids.image}"`,
    `ddb.uuid.modification="${uuids.modification}"`,
    `ddb.uuid.parent="${uuids.parent}"`,
    `ddb.uuid.parentmodification="${uuids.parentModification}"\n`,
  ].join('\n');
}

const uuid = (digit: string): string => '8-4-4-4-12'.replaceAll(/\d+/g, (n) => digit.repeat(+n));

const VIRTUALBOX_SHAPE = { grainSectors: 8, tableEntries: 128, version: 2, flags: 7 };

function virtualBoxParent(_folder: string, base: string, size: number): void {
  const sectors = size / SECTOR;
  const uuids = { image: uuid('1'), modification: uuid('2') };
  const none = { parent: uuid('0'), parentModification: uuid('0') };
  const descriptor = knownToVirtualBox(sectors, 'base.vmdk', { ...uuids, ...none });
  writeSparseFile(base, { sectors, ...VIRTUALBOX_SHAPE, descriptor });
}

function virtualBoxChild(folder: string, base: string, size: number): void {
  const sectors = size / SECTOR;
  const text = readFileSync(base).toString('latin1');
  const state = /^ddb\.uuid\.modification="(.*)"$/m.exec(text)?.[1] ?? '';
  const uuids = { image: uuid('3'), modification: uuid('4') };
  const link = { parent: uuid('1'), parentModification: state };
  const descriptor = knownToVirtualBox(sectors, 'top.vmdk', { ...uuids, ...link });
  writeSparseFile(join(folder, 'top.vmdk'), { sectors, ...VIRTUALBOX_SHAPE, descriptor });
}

const SHAPES: readonly Shape[] = [
  {
    name: 'images that only VirtualBox has linked',
    size: 100 * SECTOR,
    makeParent: virtualBoxParent,
    makeChild: virtualBoxChild,
  },
  {
    name: 'monolithicSparse into monolithicSparse',
    size: 160 * KIB,
    makeParent: created('monolithicSparse'),
    makeChild: childKind('monolithicSparse'),
  },
  {
    name: 'CIDs that lie across the border of two sectors',
    size: 101 * SECTOR,
    makeParent: parentAcrossBorder,
    makeChild: childAcrossBorder,
  },
  {
    name: 'two extents into a flat one',
    size: 90 * SECTOR,
    makeParent: (folder, _base, size) => {
      flatParent(folder, 'base', size);
    },
    makeChild: childKind('two extents'),
  },
  {
    name: 'COWD into a child of a flat parent',
    size: 120 * SECTOR,
    makeParent: (folder, base, size) => {
      const { image } = flatParent(folder, 'root', size);
      createImage(base, { size, backing: image });
    },
    makeChild: childKind('vmfsSparse'),
  },
  {
    name: 'seSparse into COWD',
    size: 24 * 4 * KIB,
    makeParent: created('vmfsSparse'),
    makeChild: childKind('seSparse'),
  },
  {
    name: 'sparse with zeroed grains into seSparse',
    size: 24 * 4 * KIB,
    makeParent: created('seSparse'),
    makeChild: childKind('sparse with zeroed grains'),
  },
];

function made({ makeChild, makeParent, name, size }: Shape, seed: number): MergePair {
  const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-crash-'));
  try {
    const random = new Random(seed);
    const base = join(folder, 'base.vmdk');
    makeParent(folder, base, size);
    scribbleSmall(base, random, 6);
    const before = readAll(base);
    makeChild(folder, base, size);
    scribbleSmall(join(folder, 'top.vmdk'), random, 8);
    createImage(join(folder, 'second.vmdk'), { size, backing: base });
    const names = readdirSync(folder).sort();
    return {
      name,
      files: new Map(names.map((each) => [each, readFileSync(join(folder, each))])),
      content: readAll(join(folder, 'top.vmdk')),
      before,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The pairs; each is made when it is called, with other contents for another seed. */
export const MERGE_PAIRS: readonly {
  readonly name: string;
  readonly make: (seed: number) => MergePair;
}[] = SHAPES.map((shape) => ({ name: shape.name, make: (seed) => made(shape, seed) }));
