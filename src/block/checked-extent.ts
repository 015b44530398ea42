/** An extent that was opened and checked, and waits for its share of the image's memory. */
import { alignUp } from '../binary/alignment.js';
import { ENTRY_BYTES } from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { TablesChecked, TablesFound } from './check-tables.js';
import type { GrainCacheDescription } from './grain-cache.js';
import { describeTables } from './grain-tables.js';
import type { OpenedFile } from './opened-files.js';
import type { HeaderWrite, SparseExtentDescription } from './sparse-extent.js';
import { newWriteFlags } from './sparse-parts.js';
import type { StreamExtentDescription } from './stream-extent.js';

/** Where an extent lies on the disk; bytes. */
export interface ExtentPlace {
  readonly start: number;
  readonly size: number;
}

/** How an extent is to be used. */
export interface ExtentUse {
  readonly readOnly: boolean;
  /** Whether change tracking, which writing would falsify, may be ended by the first write. */
  readonly dropChangeTracking: boolean;
}

/** The cache that the stream extents of an image share, and which of them this one is, from 1. */
interface CacheShare {
  readonly cache: GrainCacheDescription;
  readonly id: number;
}

/** An extent that was checked and waits for its share of the memory for tables. */
export interface CheckedExtent {
  readonly kind: SparseExtentDescription['kind'] | StreamExtentDescription['kind'];
  /** Bytes. */
  readonly grainBytes: number;
  readonly tableCount: number;
  /** Bytes of one table in memory. */
  readonly tableBytes: number;
  /** Whether the header says that the extent was not closed. */
  readonly isUnclean: boolean;
  /** What ends change tracking in its header; absent where there is none. */
  readonly untrack?: HeaderWrite;
  /** Copies of tables that lag behind and are brought up to date by the first write. */
  readonly lateCopies: number;
  /**
   * @param slots how many of its tables may be in memory, at least 1
   * @param share of the memory for inflated grains
   */
  describe(slots: number, share: CacheShare): SparseExtentDescription | StreamExtentDescription;
}

/** A sparse extent as it was found: its description but for what depends on its share of memory. */
export interface SparseFacts extends Omit<
  SparseExtentDescription,
  | 'kind'
  | 'start'
  | 'size'
  | 'file'
  | 'fileLength'
  | 'grainBytes'
  | 'bounds'
  | 'codec'
  | 'tables'
  | 'flags'
> {
  readonly file: OpenedFile;
  readonly place: ExtentPlace;
  readonly tables: TablesFound;
  readonly checked: TablesChecked;
  readonly isUnclean?: boolean;
  readonly lateCopies?: number;
  readonly untrack?: HeaderWrite;
}

/** A sparse extent that waits for its share of memory. */
export function checkedSparse(facts: SparseFacts): CheckedExtent {
  const {
    checked,
    file,
    isUnclean = false,
    lateCopies = 0,
    untrack,
    place,
    tables,
    ...others
  } = facts;
  const { bounds, codec, directories, tableEntries } = tables;
  const size = { tableCount: directories[0]?.length ?? 0, tableEntries };
  return {
    kind: 'sparse',
    grainBytes: bounds.grainBytes,
    tableCount: size.tableCount,
    tableBytes: tableEntries * ENTRY_BYTES,
    isUnclean,
    lateCopies,
    ...(untrack === undefined ? {} : { untrack }),
    describe: (slots) => ({
      kind: 'sparse',
      ...place,
      ...others,
      file,
      fileLength: file.length,
      grainBytes: bounds.grainBytes,
      bounds,
      codec,
      tables: describeTables(size, slots, directories, checked.unused),
      flags: newWriteFlags(),
    }),
  };
}

/**
 * Checks that an extent has room for what its line in the descriptor says: the line's size counts,
 * because some programs round the header's up.
 *
 * @throws VmdkError VMDK_BAD_CAPACITY
 */
export function assertCovered(
  file: OpenedFile,
  capacity: number,
  grainBytes: number,
  size: number,
): void {
  if (size <= alignUp(capacity, grainBytes)) return;
  throw new VmdkError(
    'VMDK_BAD_CAPACITY',
    file.path,
    `its extent line has ${size / SECTOR_BYTES} sectors, its header only ${capacity / SECTOR_BYTES}; one of them is corrupt`,
  );
}
