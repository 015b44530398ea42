/** The geometry that a BIOS shows of a disk: cylinders, heads, and sectors of a track. */

/** Three counts; their product is at most the size of the disk in sectors. */
export interface DiskGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}
