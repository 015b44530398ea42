/** Children of every make that the engine writes, over any parent. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { attachLayers } from '../../src/block/attach-image.js';
import { createImage } from '../../src/block/create-image.js';
import { heldRuns } from '../../src/block/image-map.js';
import { openImage } from '../../src/block/open-image.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { readAll } from './disk-reading.js';
import { chain } from './images.js';
import { pattern } from './made-disk.js';
import { writeSparseFile } from './sparse-file.js';

const SECTOR = 512;

/** A way to make an empty child `top.vmdk` of `parent`, in its folder, of `size` bytes. */
export interface ChildKind {
  readonly name: string;
  make(folder: string, parent: string, size: number): string;
}

function created(subformat: Subformat): ChildKind {
  return {
    name: subformat,
    make: (folder, parent, size) => {
      const image = join(folder, 'top.vmdk');
      createImage(image, { size, backing: parent, subformat });
      return image;
    },
  };
}

/** The CID in the descriptor of an image, eight digits. */
export function cidOf(image: string, key: 'CID' | 'parentCID' = 'CID'): string {
  const text = readFileSync(image).toString('latin1', 0, 64 * 1024);
  return new RegExp(`^${key}=([0-9a-f]+)`, 'm').exec(text)?.[1] ?? '';
}

/** Whether an image holds nothing of its own. */
export function holdsNothing(image: string): boolean {
  const { description, device } = openImage(image, { readOnly: true });
  try {
    return heldRuns(attachLayers(description)[0]).next().done === true;
  } finally {
    device.close();
  }
}

export const CHILD_KINDS: readonly ChildKind[] = [
  created('monolithicSparse'),
  created('twoGbMaxExtentSparse'),
  created('vmfsSparse'),
  created('seSparse'),
  {
    name: 'sparse with zeroed grains, without tables',
    make: (folder, parent, size) => {
      const image = join(folder, 'top.vmdk');
      const sectors = size / SECTOR;
      const descriptor = [
        '# Disk DescriptorFile',
        'version=1',
        'CID=0badcafe',
        `parentCID=${cidOf(parent)}`,
        `parentFileNameHint="${basename(parent)}"`,
        'createType="monolithicSparse"',
        `RW ${sectors} SPARSE "top.vmdk"`,
        '',
      ].join('\n');
      writeSparseFile(image, {
        sectors,
        grainSectors: 8,
        tableEntries: 128,
        version: 2,
        flags: 7,
        withTables: false,
        descriptor,
      });
      return image;
    },
  },
  {
    name: 'two extents with different grains',
    make: (folder, parent, size) => {
      const image = join(folder, 'top.vmdk');
      const first = Math.floor(size / SECTOR / 3);
      const sizes = [first, size / SECTOR - first];
      const lines = sizes.map((sectors, index) => {
        const grainSectors = index === 0 ? 1 : 32;
        writeSparseFile(join(folder, `top-${index}.vmdk`), {
          sectors,
          grainSectors,
          tableEntries: 512,
        });
        return `RW ${sectors} SPARSE "top-${index}.vmdk"`;
      });
      chain(image, lines, parent);
      return image;
    },
  },
];

/** Random numbers below a limit. */
interface Numbers {
  below(end: number): number;
}

/** Writes and zeroes random ranges of a disk, small ones and such of several grains. */
export function scribble(image: string, random: Numbers, count: number): Buffer {
  change(image, random, count, { unit: 64 * 1024, lengthMax: 70_000 });
  return readAll(image);
}

/** The same on a tiny disk. */
export function scribbleSmall(image: string, random: Numbers, count: number): void {
  change(image, random, count, { unit: 4096, lengthMax: 2000 });
}

function change(
  image: string,
  random: Numbers,
  count: number,
  reach: { readonly unit: number; readonly lengthMax: number },
): void {
  const { device } = openImage(image, { readOnly: false });
  try {
    for (let step = 0; step < count; step++) {
      const isWhole = random.below(2) === 0;
      const unit = isWhole ? reach.unit : 1;
      const at = random.below(Math.max(1, Math.floor(device.size / unit))) * unit;
      const wanted = isWhole ? unit * (1 + random.below(3)) : 1 + random.below(reach.lengthMax);
      const length = Math.min(wanted, device.size - at);
      if (random.below(4) === 0) device.zero(at, length);
      else device.write(pattern(length, step + random.below(99)), 0, length, at);
    }
  } finally {
    device.close();
  }
}
