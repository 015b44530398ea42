/**
 * The adapter that a descriptor names for its disk, and the geometry that a BIOS shows of it:
 * cylinders, heads, and sectors of a track. Nothing of it changes where data lies.
 */
import { SECTOR_BYTES } from './limits.js';

/** Adapters that VMware's products know by these names in `ddb.adapterType`. */
export const ADAPTERS = ['ide', 'buslogic', 'lsilogic', 'legacyESX'] as const;

export type Adapter = (typeof ADAPTERS)[number];

/** What VMware gives a disk of a new machine. */
export const ADAPTER_DEFAULT: Adapter = 'lsilogic';

/** Three counts; their product is at most the size of the disk in sectors, or one cylinder. */
export interface DiskGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** More cylinders an ATA disk cannot announce. */
const IDE_CYLINDERS_MAX = 16383;

const GIB = 2 ** 30;

/** The geometry that VMware gives a disk of `size` bytes at `adapter`. */
export function diskGeometry(size: number, adapter: Adapter): DiskGeometry {
  const { heads, sectors } = trackOf(size, adapter);
  const cylinders = Math.max(1, Math.floor(size / (heads * sectors * SECTOR_BYTES)));
  if (adapter !== 'ide') return { cylinders, heads, sectors };
  return { cylinders: Math.min(cylinders, IDE_CYLINDERS_MAX), heads, sectors };
}

function trackOf(size: number, adapter: Adapter): Omit<DiskGeometry, 'cylinders'> {
  if (adapter === 'ide') return { heads: 16, sectors: 63 };
  if (size < GIB) return { heads: 64, sectors: 32 };
  if (size < 2 * GIB) return { heads: 128, sectors: 32 };
  return { heads: 255, sectors: 63 };
}
