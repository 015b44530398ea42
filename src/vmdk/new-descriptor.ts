/** The descriptor text of a new monolithicSparse disk. */
import { formatCid } from './cid.js';
import { SECTOR_BYTES } from './limits.js';

/** Sectors that VMware reserves for an embedded descriptor. */
export const DESCRIPTOR_SECTORS = 20;

/** What a new descriptor names; `size` in bytes. */
export interface NewDisk {
  readonly size: number;
  readonly cid: number;
  readonly parentCid: number | undefined;
  readonly parentFileNameHint: string | undefined;
  /** The file's own name, without its folder. */
  readonly fileName: string;
  /** 24 hex digits; the CID follows them in `ddb.longContentID`. */
  readonly longContentPrefix: string;
}

// Geometry of an LSI Logic disk above 1 GiB, the type VMware gives a new machine.
const HEADS = 255;
const SECTORS = 63;

/** Formats the descriptor as VMware does; ASCII but for file names, which are UTF-8. */
export function formatNewDescriptor(disk: NewDisk): string {
  const sectors = disk.size / SECTOR_BYTES;
  const cid = formatCid(disk.cid);
  const hint =
    disk.parentFileNameHint === undefined
      ? []
      : [`parentFileNameHint="${disk.parentFileNameHint}"`];
  return [
    '# Disk DescriptorFile',
    'version=1',
    'encoding="UTF-8"',
    `CID=${cid}`,
    `parentCID=${formatCid(disk.parentCid ?? 0xffffffff)}`,
    'createType="monolithicSparse"',
    ...hint,
    '',
    '# Extent description',
    `RW ${sectors} SPARSE "${disk.fileName}"`,
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    'ddb.adapterType = "lsilogic"',
    `ddb.geometry.cylinders = "${Math.max(1, Math.floor(sectors / (HEADS * SECTORS)))}"`,
    `ddb.geometry.heads = "${HEADS}"`,
    `ddb.geometry.sectors = "${SECTORS}"`,
    `ddb.longContentID = "${disk.longContentPrefix}${cid}"`,
    'ddb.virtualHWVersion = "4"',
    '',
  ].join('\n');
}
