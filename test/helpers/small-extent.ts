/**
 * A hosted sparse extent with everything at places that tests can say: grains of 8 KiB, tables of 128
 * entries, 384 grains. Sectors: header 0, redundant directory 1 with tables 2 3 4, directory 5 with
 * tables 6 7 8, grains from 16 on.
 */
import { join } from 'node:path';
import { writeDisk } from './checked.js';
import { pattern } from './made-disk.js';
import { writeDescriptor } from './images.js';
import { littleEndian, poke } from './poke.js';
import { writeSparseFile } from './sparse-file.js';
import { tempFolder } from './temp-folder.js';

export const GRAIN = 8192;
const SECTORS = 384 * 16;

/** Bytes of the file at which its parts begin. */
export const UNCLEAN = 72;
export const RGD = 512;
export const RGT = [1024, 1536, 2048] as const;
export const GD = 2560;
export const GT = [3072, 3584, 4096] as const;

/** The extent, its descriptor, and what the disk holds. */
export interface SmallDisk {
  readonly image: string;
  readonly file: string;
  readonly content: Buffer;
}

/** A disk with grains 0, 1, 2 in sectors 16, 32, 48, and grain 130 in sector 64. */
export function makeSmallDisk(): SmallDisk {
  const folder = tempFolder();
  const image = join(folder, 'disk.vmdk');
  const file = join(folder, 's.vmdk');
  writeSparseFile(file, { sectors: SECTORS, grainSectors: 16, tableEntries: 128 });
  writeDescriptor(image, [`RW ${SECTORS} SPARSE "s.vmdk"`]);
  const content = Buffer.alloc(SECTORS * 512);
  pattern(3 * GRAIN, 1).copy(content);
  pattern(GRAIN, 2).copy(content, 130 * GRAIN);
  writeDisk(image, content.subarray(0, 3 * GRAIN), 0);
  writeDisk(image, content.subarray(130 * GRAIN, 131 * GRAIN), 130 * GRAIN);
  return { image, file, content };
}

/** A number and where it is written; of 4 bytes unless it says more. */
export type Poke = readonly [offset: number, value: number, size?: 1 | 2 | 4 | 8];

export function pokeAll(file: string, pokes: readonly Poke[]): void {
  for (const [offset, value, size = 4] of pokes) poke(file, offset, littleEndian(value, size));
}
