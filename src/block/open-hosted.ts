/** Opening a hosted sparse extent: its header against its line, directories and all tables. */
import { alignUp } from '../binary/alignment.js';
import { u32Bytes } from '../binary/struct.js';
import { tableBytes, tableCount } from '../vmdk/layout.js';
import { SECTOR_BYTES, SPARSE_FILE_BYTES_MAX } from '../vmdk/limits.js';
import { SparseExtentHeader, type SparseHeader } from '../vmdk/sparse-extent-header.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { checkTables, sectorTables, type TablesChecked } from './check-tables.js';
import {
  assertCovered,
  checkedSparse,
  type CheckedExtent,
  type ExtentPlace,
  type ExtentUse,
  type SparseFacts,
} from './checked-extent.js';
import { readDirectories, type Area, type Directories } from './directories.js';
import { describeAllocator } from './grain-allocator.js';
import { TABLE_DAMAGED, TABLE_MISSING } from './grain-tables.js';
import { lengthNow, type OpenedFile, type OpenedFiles } from './opened-files.js';
import type { HeaderWrite } from './sparse-extent.js';
import { SECTOR_SCALE } from './table-codec.js';
import { checkUnclean } from './unclean.js';

/** The version that a header with change tracking has. */
export const TRACKED_VERSION = 3;

/**
 * Checks an extent at `place` of the disk; `files` counts its tables.
 *
 * @throws VmdkError that says what is wrong with it
 */
export function checkHosted(
  files: OpenedFiles,
  file: OpenedFile,
  header: SparseHeader,
  place: ExtentPlace,
  use: ExtentUse,
): CheckedExtent {
  assertCovered(file, header.capacity, header.grainBytes, place.size);
  if (header.overHead > lengthNow(file)) {
    throw new VmdkError(
      'VMDK_TRUNCATED',
      file.path,
      `its metadata ends at byte ${header.overHead}, but the file has only ${file.length} bytes; it is truncated`,
    );
  }
  files.claimTables(tableCount(header), file.path);
  const offsets = header.hasRedundant ? [header.gdOffset, header.rgdOffset] : [header.gdOffset];
  const directories = readDirectories(file, {
    geometry: header,
    offsets,
    reserved: headerAreas(header),
  });
  if (!use.readOnly) assertWritable(file, header, directories, use);
  const { grainBytes } = header;
  const tables = sectorTables(file.path, header, directories, grainBytes);
  const copies = { take: use.readOnly, isUnclean: header.uncleanShutdown };
  const checked = checkTables(file, tables, copies);
  remarkCopies(files, file, directories, checked);
  const isChecked = header.uncleanShutdown && !use.readOnly;
  const late = isChecked ? checkUnclean(file, tables, checked.allocated) : [];
  // Grains need not be aligned, and the last one may be cut short by the end of the file.
  const end = alignUp(Math.max(file.length, checked.grainsEnd), grainBytes);
  return checkedSparse({
    file,
    place,
    tables,
    checked,
    isUnclean: header.uncleanShutdown,
    lateCopies: late.length,
    allocator: describeAllocator(
      {
        path: file.path,
        grainBytes,
        tableBytes: tableBytes(header),
        tables: SECTOR_SCALE,
        limit: SPARSE_FILE_BYTES_MAX,
        full: { code: 'EFBIG', reason: 'a sparse extent cannot grow past 2 TiB' },
        hasTableArea: false,
      },
      { end, allocated: checked.allocated },
    ),
    record: { kind: 'none' },
    readOnly: use.readOnly,
    isSpaceFresh: true,
    directoryOffsets: directories.offsets,
    hasZeroedGrains: header.hasZeroedGrains,
    loneTables: use.readOnly ? new Uint32Array(0) : loneTables(directories),
    ...headerWrites(header, late),
  });
}

/** Says once for an extent what its redundant tables were needed for, or that they differ. */
function remarkCopies(
  files: OpenedFiles,
  file: OpenedFile,
  { damage }: Directories,
  checked: TablesChecked,
): void {
  if (damage !== undefined) {
    files.remark(`${file.path}: ${damage}; the other copy is used, run vmdkfs check`);
  }
  if (checked.taken > 0) {
    const entries = checked.taken === 1 ? '1 entry' : `${checked.taken} entries`;
    files.remark(
      `${file.path}: ${entries} of the grain tables cannot be right, so the redundant table is read there; run vmdkfs check`,
    );
  } else if (checked.differing >= 0) {
    files.remark(
      `${file.path}: grain table ${checked.differing} and its redundant copy differ, so the disk may be shown wrong; run vmdkfs check`,
    );
  }
}

/** What the header and the descriptor of a hosted extent take up. */
export function headerAreas(header: SparseHeader): Area[] {
  return [
    { start: 0, length: SECTOR_BYTES },
    { start: header.descriptorOffset, length: header.descriptorBytes },
  ];
}

function assertWritable(
  file: OpenedFile,
  header: SparseHeader,
  directories: Directories,
  use: ExtentUse,
): void {
  if (directories.damage !== undefined) {
    throw new VmdkError(
      'VMDK_BAD_DIRECTORY',
      file.path,
      `${directories.damage}; it can be mounted with -o ro`,
    );
  }
  if (header.version >= TRACKED_VERSION && !use.dropChangeTracking) {
    throw changeTracked(file.path, `header version ${header.version} means that changes`);
  }
  if (header.unknownFlags !== 0) {
    throw new VmdkError(
      'VMDK_READ_ONLY',
      file.path,
      `its header has flags that are not known (0x${header.unknownFlags.toString(16)}); it can be mounted with -o ro`,
    );
  }
}

/** The refusal to write to an image whose changes are tracked; `what` ends in `changes`. */
export function changeTracked(path: string, what: string): VmdkError {
  return new VmdkError(
    'VMDK_READ_ONLY',
    path,
    `${what} are tracked for incremental backups, which writing would falsify; mount with -o ro, or with --drop-change-tracking (the next backup has to be a full one)`,
  );
}

/** The tables that only one directory leads to, because a crash came between the two entries. */
function loneTables({ entries: [primary, redundant] }: Directories): Uint32Array {
  const lone: number[] = [];
  redundant?.forEach((copy, table) => {
    const entry = primary?.[table] ?? TABLE_MISSING;
    const [one, other] = entry === TABLE_MISSING ? [copy, entry] : [entry, copy];
    if (one > TABLE_DAMAGED && other === TABLE_MISSING) lone.push(table);
  });
  return Uint32Array.from(lone);
}

/**
 * The extent is in use from the first write to a clean end, and `late` copies of its tables are
 * brought up to date. Change tracking ends for all extents of a disk together.
 */
function headerWrites(
  header: SparseHeader,
  late: readonly HeaderWrite[],
): Pick<SparseFacts, 'firstWrites' | 'lastWrites' | 'untrack'> {
  const { uncleanShutdown, version } = SparseExtentHeader;
  const position = uncleanShutdown.offset;
  const firstWrites = [{ position, bytes: Uint8Array.of(1) }, ...late];
  const lastWrites = [{ position, bytes: Uint8Array.of(0) }];
  if (header.version < TRACKED_VERSION) return { firstWrites, lastWrites };
  const bytes = u32Bytes(header.hasZeroedGrains ? 2 : 1);
  return { firstWrites, lastWrites, untrack: { position: version.offset, bytes } };
}
