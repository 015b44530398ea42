/**
 * Opening a hosted sparse extent: header, directories, and one pass over all tables, so that a
 * truncated or corrupt image is refused when it is opened and not in the middle of a copy.
 */
import { alignUp } from '../binary/alignment.js';
import { GTE_UNALLOCATED } from '../vmdk/grain-entry.js';
import { grainCount, tableBytes, tableCount } from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import type { SparseHeader } from '../vmdk/sparse-extent-header.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { readDirectories, type Directories } from './directories.js';
import { describeAllocator } from './grain-allocator.js';
import { GrainBounds, type GrainBoundsDescription } from './grain-bounds.js';
import { describeTables, TABLE_DAMAGED } from './grain-tables.js';
import { HostFile } from './host-file.js';
import type { OpenedFile, OpenedFiles } from './opened-files.js';
import type { SparseExtentDescription } from './sparse-extent.js';
import { newWriteFlags } from './sparse-parts.js';

/** Bytes of tables read at a time while checking them. */
const CHECK_BYTES = 1024 * 1024;

/** A sparse extent that was checked and waits for its share of the memory for tables. */
export interface CheckedSparse {
  readonly tableCount: number;
  readonly tableBytes: number;
  /** Whether the header says that the extent was not closed. */
  readonly isUnclean: boolean;
  /** @param slots how many of its tables may be in memory, at least 1 */
  describe(slots: number): SparseExtentDescription;
}

/**
 * Checks an extent of `size` bytes that begins at `start` of the disk; `files` counts its tables.
 *
 * @throws VmdkError that says what is wrong with it
 */
export function checkSparse(
  files: OpenedFiles,
  file: OpenedFile,
  header: SparseHeader,
  place: { start: number; size: number },
  readOnly: boolean,
): CheckedSparse {
  assertSupported(file, header);
  assertSize(file, header, place.size);
  if (header.overHead > file.length) {
    throw new VmdkError(
      'VMDK_TRUNCATED',
      file.path,
      `its metadata ends at byte ${header.overHead}, but the file has only ${file.length} bytes; it is truncated`,
    );
  }
  files.claimTables(tableCount(header), file.path);
  const directories = readDirectories(file, header);
  if (!readOnly) assertWritable(file, header, directories);
  const bounds = {
    path: file.path,
    grainBytes: header.grainBytes,
    grainCount: grainCount(header),
    metadata: directories.metadata,
  };
  const grains = checkTables(file, header, directories, bounds);
  const size = { tableCount: tableCount(header), tableBytes: tableBytes(header) };
  return {
    ...size,
    isUnclean: header.uncleanShutdown,
    describe: (slots) => ({
      kind: 'sparse',
      ...place,
      file: { fd: file.fd, path: file.path },
      grainBytes: header.grainBytes,
      bounds,
      tables: describeTables(
        { ...size, tableEntries: header.tableEntries },
        slots,
        directories.entries,
        grains.unused,
      ),
      allocator: describeAllocator(file.path, header.grainBytes, grains.end, grains.allocated),
      flags: newWriteFlags(),
      directoryOffsets: directories.offsets,
      hasZeroedGrains: header.hasZeroedGrains,
      wasUnclean: header.uncleanShutdown,
    }),
  };
}

function assertSupported(file: OpenedFile, header: SparseHeader): void {
  if (!header.isCompressed) return;
  throw new VmdkError(
    'VMDK_UNSUPPORTED',
    file.path,
    'is streamOptimized (compressed), which this version cannot open; convert it to monolithicSparse first',
  );
}

function assertSize(file: OpenedFile, header: SparseHeader, size: number): void {
  const covered = alignUp(header.capacity, header.grainBytes);
  if (size <= covered) return;
  throw new VmdkError(
    'VMDK_BAD_CAPACITY',
    file.path,
    `its extent line has ${size / SECTOR_BYTES} sectors, its header only ${header.capacity / SECTOR_BYTES}; one of them is corrupt`,
  );
}

function assertWritable(file: OpenedFile, header: SparseHeader, directories: Directories): void {
  const refuse = (code: 'VMDK_READ_ONLY' | 'VMDK_BAD_DIRECTORY', reason: string): VmdkError =>
    new VmdkError(code, file.path, `${reason}; it can be mounted with -o ro`);
  if (directories.damage !== undefined) throw refuse('VMDK_BAD_DIRECTORY', directories.damage);
  if (header.version >= 3) {
    throw refuse(
      'VMDK_READ_ONLY',
      `header version ${header.version} means change tracking, which writing would falsify`,
    );
  }
  if (header.unknownFlags !== 0) {
    throw refuse(
      'VMDK_READ_ONLY',
      `its header has flags that are not known (0x${header.unknownFlags.toString(16)})`,
    );
  }
}

/**
 * Reads every table once, neighbours in one read.
 *
 * @returns how many grains are allocated; which tables are unused; and where what is in use of the
 *   file ends: grains need not be aligned, and the last one may be cut short by the end of the file
 */
function checkTables(
  file: OpenedFile,
  header: SparseHeader,
  directories: Directories,
  description: GrainBoundsDescription,
): { allocated: number; end: number; unused: SharedArrayBuffer } {
  const bounds = new GrainBounds(description, () => file.length);
  const source = new HostFile(file);
  const bytes = tableBytes(header);
  const buffer = new Uint8Array(CHECK_BYTES);
  const count = tableCount(header);
  const [primary, redundant] = directories.entries;
  const placeOf = (table: number): number => {
    const place = primary?.[table] ?? 0;
    return place > TABLE_DAMAGED ? place : (redundant?.[table] ?? 0);
  };
  const unused = new Uint8Array(new SharedArrayBuffer(count)).fill(1);
  let allocated = 0;
  let end = file.length;
  for (let table = 0; table < count;) {
    const place = placeOf(table);
    let run = 1;
    while (
      place > TABLE_DAMAGED &&
      (run + 1) * bytes <= CHECK_BYTES &&
      table + run < count &&
      placeOf(table + run) === place + (run * bytes) / SECTOR_BYTES
    ) {
      run += 1;
    }
    if (place > TABLE_DAMAGED) {
      source.read(buffer, 0, run * bytes, place * SECTOR_BYTES);
      for (let index = 0; index < run; index++) {
        const words = new Uint32Array(buffer.buffer, index * bytes, header.tableEntries);
        const found = bounds.check(words, (table + index) * header.tableEntries);
        if (words.some((entry) => entry !== GTE_UNALLOCATED)) unused[table + index] = 0;
        allocated += found.allocated;
        end = Math.max(end, found.end);
      }
    }
    table += run;
  }
  return { allocated, end, unused: unused.buffer };
}
