/** The descriptor text of a new disk. */
import { formatCid } from './cid.js';
import type { Adapter, DiskGeometry } from './disk-geometry.js';
import { SECTOR_BYTES } from './limits.js';
import { factsOfSubformat, type ImageKind, type NewExtent } from './subformat.js';

/** Sectors that VMware reserves for an embedded descriptor. */
export const DESCRIPTOR_SECTORS = 20;

/** What a new descriptor says. */
export interface NewDisk {
  readonly subformat: ImageKind;
  readonly extents: readonly NewExtent[];
  readonly cid: number;
  readonly parentCid: number | undefined;
  readonly parentFileNameHint: string | undefined;
  readonly adapter: Adapter;
  readonly geometry: DiskGeometry;
  /** 24 hex digits; the CID follows them in `ddb.longContentID`. */
  readonly longContentPrefix: string;
  /** Lines by which VirtualBox knows the disk and its parent. */
  readonly virtualBoxLines: readonly string[];
}

/** Formats the descriptor as VMware does; ASCII but for file names, which are UTF-8. */
export function formatNewDescriptor(disk: NewDisk): string {
  const { access, extentType, dataBase } = factsOfSubformat(disk.subformat);
  const { cylinders, heads, sectors } = disk.geometry;
  const cid = formatCid(disk.cid);
  const hint =
    disk.parentFileNameHint === undefined
      ? []
      : [`parentFileNameHint="${disk.parentFileNameHint}"`];
  // QEMU needs the offset in FLAT lines and refuses it in others.
  const offset = extentType === 'FLAT' ? ' 0' : '';
  return [
    '# Disk DescriptorFile',
    'version=1',
    'encoding="UTF-8"',
    `CID=${cid}`,
    `parentCID=${formatCid(disk.parentCid ?? 0xffffffff)}`,
    `createType="${disk.subformat}"`,
    ...hint,
    '',
    '# Extent description',
    ...disk.extents.map(
      ({ size, fileName }) =>
        `${access} ${size / SECTOR_BYTES} ${extentType} "${fileName}"${offset}`,
    ),
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    `ddb.adapterType = "${disk.adapter}"`,
    `ddb.geometry.cylinders = "${cylinders}"`,
    `ddb.geometry.heads = "${heads}"`,
    `ddb.geometry.sectors = "${sectors}"`,
    ...dataBase,
    `ddb.longContentID = "${disk.longContentPrefix}${cid}"`,
    ...disk.virtualBoxLines,
    'ddb.virtualHWVersion = "4"',
    '',
  ].join('\n');
}
