/**
 * Where the parts of a hosted sparse extent lie. In the order of the file: header, descriptor,
 * redundant grain directory (RGD) and its tables, grain directory (GD) and its tables, padding to
 * a grain, grains. The arithmetic reproduces every VMware and QEMU sample at hand.
 */
import { alignUp } from '../binary/alignment.js';
import { SECTOR_BYTES } from './limits.js';

/** Bytes of one entry of a grain directory or a grain table. */
export const ENTRY_BYTES = 4;

/** How a sparse extent is divided; sizes in bytes. */
export interface Geometry {
  readonly capacity: number;
  readonly grainBytes: number;
  readonly tableEntries: number;
}

/** Number of grains that hold `capacity` bytes; the last one may be partly used. */
export function grainCount(geometry: Geometry): number {
  return Math.ceil(geometry.capacity / geometry.grainBytes);
}

/** Number of grain tables, which is the number of entries of a grain directory. */
export function tableCount(geometry: Geometry): number {
  return Math.ceil(grainCount(geometry) / geometry.tableEntries);
}

/** Bytes of a grain directory on disk, whole sectors. */
export function directoryBytes(geometry: Geometry): number {
  return alignUp(tableCount(geometry) * ENTRY_BYTES, SECTOR_BYTES);
}

/** Bytes of one grain table on disk, whole sectors. */
export function tableBytes(geometry: Geometry): number {
  return alignUp(geometry.tableEntries * ENTRY_BYTES, SECTOR_BYTES);
}

/** Offsets in bytes of the parts of a new extent. */
export interface SparseLayout {
  readonly descriptorOffset: number;
  readonly descriptorBytes: number;
  readonly rgdOffset: number;
  readonly gdOffset: number;
  readonly overHead: number;
}

/**
 * Lays out a new extent as VMware does, its descriptor of `descriptorBytes` behind the header; an
 * extent of a split disk has none, and 0 for its offset and size.
 */
export function newLayout(geometry: Geometry, descriptorBytes: number): SparseLayout {
  const copyBytes = directoryBytes(geometry) + tableCount(geometry) * tableBytes(geometry);
  const rgdOffset = SECTOR_BYTES + descriptorBytes;
  const gdOffset = rgdOffset + copyBytes;
  return {
    descriptorOffset: descriptorBytes === 0 ? 0 : SECTOR_BYTES,
    descriptorBytes,
    rgdOffset,
    gdOffset,
    overHead: alignUp(gdOffset + copyBytes, geometry.grainBytes),
  };
}
