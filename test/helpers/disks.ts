import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { cowdDisk, seSparseDisk } from './delta-kinds.js';
import { writeDescriptor } from './images.js';
import { putDosTable } from './partition-tables.js';
import { tempFolder } from './temp-folder.js';

/** Size of the disks that the behaviour table runs on, bytes. */
export const BEHAVIOUR_DISK_BYTES = 8 * 1024 * 1024;

/** A new, empty disk for the behaviour table. */
export function emptyDisk(): string {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: BEHAVIOUR_DISK_BYTES, backing: undefined });
  return image;
}

/** Where the partition of `partitionedDisk` begins, bytes. */
export const PARTITION_START = 1024 * 1024;

/** A new, empty disk with a partition that is as large as the disks of the behaviour table. */
export function partitionedDisk(): string {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: PARTITION_START + BEHAVIOUR_DISK_BYTES + 65536, backing: undefined });
  const table = Buffer.alloc(512);
  putDosTable(table, 0, [{ type: 0x83, start: PARTITION_START / 512, sectors }]);
  const { device } = openImage(image, { readOnly: false });
  device.write(table, 0, 512, 0);
  device.close();
  return image;
}

const sectors = BEHAVIOUR_DISK_BYTES / 512;

/** Empty disks for the behaviour table, one of each sparse format. */
export const EMPTY_DISKS: readonly {
  readonly name: string;
  /** Whether grains are of 64 KiB. */
  readonly hasUsualGrains: boolean;
  readonly make: () => string;
}[] = [
  { name: 'monolithicSparse', hasUsualGrains: true, make: emptyDisk },
  {
    name: 'COWD, grains of a sector',
    hasUsualGrains: false,
    make: () => cowdDisk(tempFolder(), 'disk', { sectors, preExtend: 4096 }).image,
  },
  {
    name: 'COWD, grains of 128 sectors',
    hasUsualGrains: true,
    make: () => cowdDisk(tempFolder(), 'disk', { sectors, grainSectors: 128 }).image,
  },
  {
    name: 'seSparse',
    hasUsualGrains: false,
    make: () => seSparseDisk(tempFolder(), 'disk', { sectors }).image,
  },
];

/** A disk whose first 512 bytes, or those at `offset`, are 7, for the read-only part of the table. */
export function marked(image: string, offset = 0): string {
  const { device } = openImage(image, { readOnly: false });
  device.write(Buffer.alloc(512, 7), 0, 512, offset);
  device.close();
  return image;
}

/** The same as one plain file behind a descriptor. */
export function markedFlat(): string {
  const folder = tempFolder();
  writeFileSync(join(folder, 'disk-flat.vmdk'), Buffer.alloc(512, 7));
  truncateSync(join(folder, 'disk-flat.vmdk'), BEHAVIOUR_DISK_BYTES);
  writeDescriptor(join(folder, 'disk.vmdk'), [`RW ${sectors} FLAT "disk-flat.vmdk" 0`], {
    createType: 'monolithicFlat',
  });
  return join(folder, 'disk.vmdk');
}
