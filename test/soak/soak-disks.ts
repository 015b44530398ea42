/** The disks that a soak goes through, and how each is checked in the end. */
import { join } from 'node:path';
import { run, vmdkfs } from '../bench/programs.js';
import { inspectCowdFile } from '../helpers/cowd-file.js';
import { inspectSeSparseFile } from '../helpers/sesparse-file.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';

/** Bytes of every disk. */
export const DISK_BYTES = 256 * 1024 * 1024;

export interface SoakDisk {
  readonly name: string;
  /** Makes the disk in an empty folder; the path of the image. */
  readonly make: (folder: string) => Promise<string>;
  /** @throws Error with what is wrong with the image, which nobody uses */
  readonly check: (folder: string) => Promise<void>;
}

const IMAGE = 'disk.vmdk';

async function create(folder: string, ...args: readonly string[]): Promise<string> {
  const image = join(folder, IMAGE);
  await vmdkfs('create', image, ...args);
  return image;
}

async function qemuCheck(folder: string): Promise<void> {
  await run('qemu-img', ['check', '-q', '-f', 'vmdk', join(folder, IMAGE)]);
}

/** @throws Error where there are problems */
function expectNone(problems: readonly string[]): Promise<void> {
  if (problems.length === 0) return Promise.resolve();
  return Promise.reject(new Error(problems.slice(0, 10).join('\n')));
}

/** What QEMU and the tests' own reader of the tables say of a hosted extent. */
async function checkHosted(folder: string, extent: string): Promise<void> {
  await qemuCheck(folder);
  await expectNone(inspectSparseFile(join(folder, extent)).problems);
}

const SIZE = ['--size', String(DISK_BYTES)];

/** A child over a parent of the same size with data in it. */
async function child(folder: string, ...args: readonly string[]): Promise<string> {
  const base = join(folder, 'base.vmdk');
  await vmdkfs('create', base, ...SIZE);
  await run('qemu-io', ['-f', 'vmdk', '-c', 'write -q -P 0x5a 0 64M', base]);
  return create(folder, '--backing', base, ...args);
}

export const SOAK_DISKS: readonly SoakDisk[] = [
  {
    name: 'monolithicSparse',
    make: (folder) => create(folder, ...SIZE),
    check: (folder) => checkHosted(folder, IMAGE),
  },
  {
    name: 'twoGbMaxExtentSparse',
    make: (folder) => create(folder, ...SIZE, '--subformat', 'twoGbMaxExtentSparse'),
    check: (folder) => checkHosted(folder, 'disk-s001.vmdk'),
  },
  {
    name: 'monolithicFlat',
    make: (folder) => create(folder, ...SIZE, '--subformat', 'monolithicFlat'),
    check: () => Promise.resolve(),
  },
  {
    name: 'child of a monolithicSparse',
    make: (folder) => child(folder),
    check: (folder) => checkHosted(folder, IMAGE),
  },
  {
    name: 'vmfsSparse',
    make: (folder) => child(folder, '--subformat', 'vmfsSparse'),
    check: (folder) => expectNone(inspectCowdFile(join(folder, 'disk-delta.vmdk')).problems),
  },
  {
    name: 'seSparse',
    make: (folder) => child(folder, '--subformat', 'seSparse'),
    check: (folder) => expectNone(inspectSeSparseFile(join(folder, 'disk-sesparse.vmdk')).problems),
  },
];
