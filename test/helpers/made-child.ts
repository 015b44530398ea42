/** Children of every make that the engine writes, over any parent. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { readAll } from './disk-reading.js';
import { chain } from './images.js';
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

/** Writes and zeroes random ranges of a disk; what it holds then. */
export function scribble(image: string, random: Numbers, count: number): Buffer {
  const { device } = openImage(image, { readOnly: false });
  try {
    for (let step = 0; step < count; step++) {
      const whole = random.below(2) === 0;
      const unit = whole ? 64 * 1024 : 1;
      const places = Math.max(1, Math.floor(device.size / unit));
      const at = random.below(places) * unit;
      const wanted = whole ? unit * (1 + random.below(3)) : 1 + random.below(70_000);
      const length = Math.min(wanted, device.size - at);
      if (random.below(4) === 0) {
        device.zero(at, length);
        continue;
      }
      const bytes = Buffer.alloc(length);
      for (let index = 0; index < length; index++)
        bytes[index] = 1 + ((index * 7 + step + at) % 255);
      device.write(bytes, 0, length, at);
    }
  } finally {
    device.close();
  }
  return readAll(image);
}
