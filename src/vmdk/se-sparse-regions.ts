/**
 * The regions of a seSparse extent, each for one kind of thing: where they lie in a new file, and
 * whether those of a file that was found can hold its disk.
 */
import { alignUp } from '../binary/alignment.js';
import { grainCount, tableCount, type Geometry } from './layout.js';
import { CAPACITY_SECTORS_MAX, SECTOR_BYTES } from './limits.js';
import { VmdkError } from './vmdk-error.js';

/** Bytes of one entry of the directory, of a grain table and of the backmap. */
export const SESPARSE_ENTRY_BYTES = 8;

/** A run of bytes of the file. */
export interface Region {
  readonly offset: number;
  readonly length: number;
}

/** Where the regions of a file lie, in bytes. */
export interface SeSparseRegions {
  readonly volatileHeader: Region;
  readonly journalHeader: Region;
  readonly journal: Region;
  readonly directory: Region;
  /** The grain tables; a directory entry is the number of one of them. */
  readonly tables: Region;
  /** One bit for each grain of `grains`, the lowest of a byte first: 1 is in use. */
  readonly freeBitmap: Region;
  /** One entry for each grain of `grains`: the grain of the disk that it holds. */
  readonly backMap: Region;
  readonly grains: Region;
}

/** How regions are called in messages. */
const NAMES: Readonly<Record<keyof SeSparseRegions, string>> = {
  volatileHeader: 'the volatile header',
  journalHeader: 'the journal header',
  journal: 'the journal',
  directory: 'the grain directory',
  tables: 'the region of grain tables',
  freeBitmap: 'the free bitmap',
  backMap: 'the backmap',
  grains: 'the region of grains',
};

/** Bytes that a disk of `geometry` needs of each region at least. */
function neededBytes(geometry: Geometry): Readonly<Record<keyof SeSparseRegions, number>> {
  const grains = grainCount(geometry);
  const tables = tableCount(geometry);
  return {
    volatileHeader: SECTOR_BYTES,
    journalHeader: 0,
    journal: 0,
    directory: tables * SESPARSE_ENTRY_BYTES,
    tables: tables * geometry.tableEntries * SESPARSE_ENTRY_BYTES,
    freeBitmap: Math.ceil(grains / 8),
    backMap: grains * SESPARSE_ENTRY_BYTES,
    grains: geometry.capacity,
  };
}

function namesOf(regions: SeSparseRegions): (keyof SeSparseRegions)[] {
  return Object.keys(regions) as (keyof SeSparseRegions)[];
}

/**
 * Checks that regions are large enough for `geometry`, and that no two of them share a byte.
 *
 * @throws VmdkError VMDK_BAD_DIRECTORY
 */
export function checkRegions(geometry: Geometry, regions: SeSparseRegions, file: string): void {
  checkSizes(geometry, regions, file);
  checkOverlaps(regions, file);
}

function checkSizes(geometry: Geometry, regions: SeSparseRegions, file: string): void {
  const needed = neededBytes(geometry);
  for (const name of namesOf(regions)) {
    const { offset, length } = regions[name];
    if (offset + length > CAPACITY_SECTORS_MAX * SECTOR_BYTES) {
      throw new VmdkError(
        'VMDK_BAD_DIRECTORY',
        file,
        `${NAMES[name]} ends at ${offset + length}, which is out of range; the image may be corrupt`,
      );
    }
    if (length >= needed[name]) continue;
    throw new VmdkError(
      'VMDK_BAD_DIRECTORY',
      file,
      `${NAMES[name]} is ${length} bytes long (at least ${needed[name]} expected); the image may be corrupt`,
    );
  }
}

function checkOverlaps(regions: SeSparseRegions, file: string): void {
  const inOrder = namesOf(regions)
    .filter((name) => regions[name].length > 0)
    .sort((a, b) => regions[a].offset - regions[b].offset);
  let before = 'the header';
  let end = SECTOR_BYTES;
  for (const name of inOrder) {
    const { offset, length } = regions[name];
    if (offset < end) {
      throw new VmdkError(
        'VMDK_BAD_DIRECTORY',
        file,
        `${NAMES[name]} begins at ${offset}, before the end of ${before} at ${end}; the image may be corrupt`,
      );
    }
    before = NAMES[name];
    end = offset + length;
  }
}

/** Regions of a new file begin and end at multiples of this, as in ESXi's. */
const REGION_BYTES = 1024 * 1024;

/** The regions of a new extent, in ESXi's order. */
export function newRegions(geometry: Geometry): SeSparseRegions {
  const needed = neededBytes(geometry);
  let end = REGION_BYTES; // the headers lie before
  const next = (bytes: number): Region => {
    const region = { offset: end, length: alignUp(bytes, REGION_BYTES) };
    end += region.length;
    return region;
  };
  return {
    volatileHeader: { offset: SECTOR_BYTES, length: SECTOR_BYTES },
    journalHeader: { offset: 2 * SECTOR_BYTES, length: 2 * SECTOR_BYTES },
    journal: next(REGION_BYTES),
    directory: next(needed.directory),
    tables: next(needed.tables),
    freeBitmap: next(needed.freeBitmap),
    backMap: next(needed.backMap),
    grains: { offset: end, length: alignUp(geometry.capacity, geometry.grainBytes) },
  };
}
