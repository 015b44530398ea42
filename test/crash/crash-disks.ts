/** Disks to crash a server on: one of each kind that is written to, and what may never be wrong. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createImage } from '../../src/block/create-image.js';
import { inspectCowdFile } from '../helpers/cowd-file.js';
import { streamDisk } from '../helpers/delta-kinds.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { pattern, type DiskKind } from '../helpers/made-disk.js';
import { openImage } from '../../src/block/open-image.js';
import { run } from '../helpers/run.js';
import { inspectSeSparseFile } from '../helpers/sesparse-file.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';

const MIB = 1024 * 1024;

export interface CrashDisk {
  readonly image: string;
  readonly content: Buffer;
  /** Options that each mount needs. */
  readonly options?: readonly string[];
  /** Everything that is wrong with the files of the image. */
  problems(): Promise<string[]>;
}

export interface CrashDiskKind {
  readonly name: string;
  make(folder: string): CrashDisk;
}

/**
 * Both copies of a table are written one after the other: between them one still says that there
 * is no grain, or no data. Any other difference is damage.
 */
const BETWEEN_COPIES =
  /^grain \d+: (?:\d+ in the primary, [01]|[01] in the primary, \d+) in the redundant table$/;

/** What is wrong with an image of hosted extents. */
export async function hostedProblems(image: string, files: readonly string[]): Promise<string[]> {
  const problems = files
    .flatMap((file) => inspectSparseFile(file).problems)
    .filter((problem) => !BETWEEN_COPIES.test(problem));
  // QEMU cannot check what has no tables.
  if (files.length === 0) return problems;
  const { code, stderr, stdout } = await run('qemu-img', ['check', '-f', 'vmdk', image]);
  if (code !== 0) problems.push(`qemu-img check: exit code ${code}: ${stdout}${stderr}`);
  return problems;
}

/** QEMU opens nothing that is called custom. */
function nameForQemu(descriptor: string, createType: string): void {
  const text = readFileSync(descriptor, 'latin1');
  if (!text.startsWith('# Disk')) return;
  writeFileSync(descriptor, text.replace('createType="custom"', `createType="${createType}"`));
}

function hosted(name: string, kind: DiskKind): CrashDiskKind {
  return {
    name,
    make: (folder) => {
      const { content, image, parents, sparseFiles } = kind.make(folder);
      const split = 'twoGbMaxExtentSparse';
      nameForQemu(image, sparseFiles.length === 0 ? 'monolithicFlat' : split);
      for (const parent of parents) {
        nameForQemu(parent, name.includes('zeroed') ? 'monolithicFlat' : split);
      }
      const before = parents.map((path) => readFileSync(path));
      return {
        image,
        content,
        problems: async () => {
          const changed = parents.filter(
            (path, index) => !readFileSync(path).equals(before[index] ?? Buffer.alloc(0)),
          );
          const problems = changed.map((path) => `the parent ${path} was changed`);
          return [...problems, ...(await hostedProblems(image, sparseFiles))];
        },
      };
    },
  };
}

/** A delta of ESX over a parent that holds data in its first half. */
function delta(subformat: 'vmfsSparse' | 'seSparse', size: number): CrashDiskKind {
  return {
    name: `${subformat} over a parent`,
    make: (folder) => {
      const base = join(folder, 'base.vmdk');
      createImage(base, { size, backing: undefined });
      const content = Buffer.alloc(size);
      pattern(size / 2, 6).copy(content);
      const { device } = openImage(base, { readOnly: false });
      device.write(content, 0, size / 2, 0);
      device.close();
      const image = join(folder, 'disk.vmdk');
      createImage(image, { size: undefined, backing: base, subformat });
      const before = readFileSync(base);
      return {
        image,
        content,
        problems: () => {
          const { problems } =
            subformat === 'seSparse'
              ? inspectSeSparseFile(join(folder, 'disk-sesparse.vmdk'))
              : inspectCowdFile(join(folder, 'disk-delta.vmdk'));
          const isSame = readFileSync(base).equals(before);
          return Promise.resolve([...problems, ...(isSame ? [] : ['the parent was changed'])]);
        },
      };
    },
  };
}

/** A compressed image that is written through an overlay, which the first mount makes. */
const overlaid: CrashDiskKind = {
  name: 'overlay over a streamOptimized image',
  make: (folder) => {
    const { content, image } = streamDisk(folder, 'base', (3 * MIB) / 512);
    const overlay = join(folder, 'overlay.vmdk');
    const before = readFileSync(image);
    return {
      image,
      content,
      options: ['--overlay', overlay],
      problems: async () => {
        const problems = readFileSync(image).equals(before) ? [] : ['the image was changed'];
        return [...problems, ...(await hostedProblems(overlay, [overlay]))];
      },
    };
  },
};

function kindNamed(name: string): DiskKind {
  const kind = DISK_KINDS.find((each) => each.name.startsWith(name));
  if (kind === undefined) throw new Error(`no kind of disk is called ${name}`);
  return kind;
}

export const CRASH_DISKS: readonly CrashDiskKind[] = [
  hosted('monolithicSparse', kindNamed('monolithicSparse of our own making')),
  hosted('sparse without tables', kindNamed('sparse without tables')),
  hosted('twoGbMaxExtentSparse', kindNamed('twoGbMaxExtentSparse of three unequal extents')),
  hosted('split child over a parent', kindNamed('split child over a split parent')),
  hosted('child with zeroed grains', kindNamed('child with zeroed grains')),
  delta('vmfsSparse', 3 * MIB),
  delta('seSparse', 3 * MIB),
  hosted('monolithicFlat', kindNamed('monolithicFlat')),
  overlaid,
];
