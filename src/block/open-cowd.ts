/**
 * Opening a COWD extent. Its file is longer than what is in use of it, by 16 MiB at a time, and what
 * lies behind may be anything; so where it grows is the highest of what the header says and the end
 * of every table and grain, and a header that says nothing sensible does no harm.
 */
import { alignUp } from '../binary/alignment.js';
import { u32Bytes } from '../binary/struct.js';
import { CowdHeader, decodeCowdHeader, type CowdExtentHeader } from '../vmdk/cowd-header.js';
import { tableBytes } from '../vmdk/layout.js';
import { SECTOR_BYTES, SPARSE_FILE_BYTES_MAX } from '../vmdk/limits.js';
import { newRecordEnds } from './allocation-record.js';
import { checkTables, sectorTables } from './check-tables.js';
import {
  assertCovered,
  checkedSparse,
  type CheckedExtent,
  type ExtentPlace,
  type ExtentUse,
} from './checked-extent.js';
import { readDirectories } from './directories.js';
import { readBytes } from './find-descriptor.js';
import { describeAllocator } from './grain-allocator.js';
import type { OpenedFile, OpenedFiles } from './opened-files.js';
import type { HeaderWrite } from './sparse-extent.js';
import { SECTOR_SCALE } from './table-codec.js';
import { checkUnclean } from './unclean.js';

/**
 * Checks an extent at `place` of the disk; `files` counts its tables.
 *
 * @throws VmdkError that says what is wrong with it
 */
export function checkCowd(
  files: OpenedFiles,
  file: OpenedFile,
  place: ExtentPlace,
  use: ExtentUse,
): CheckedExtent {
  const header = decodeCowdHeader(readBytes(file, 0, CowdHeader.byteLength), file.path);
  const { grainBytes } = header;
  assertCovered(file, header.capacity, grainBytes, place.size);
  files.claimTables(header.tableCount, file.path);
  const directories = readDirectories(file, {
    geometry: header,
    offsets: [header.gdOffset],
    reserved: [{ start: 0, length: CowdHeader.byteLength }],
  });
  const tables = sectorTables(file.path, header, directories, grainBytes);
  const checked = checkTables(file, tables);
  if (header.isUnclean && !use.readOnly) checkUnclean(file, tables, checked.allocated);
  const used = Math.max(checked.grainsEnd, directories.metadata.at(-1) ?? 0);
  const end = endInUse(file, header, used);
  return checkedSparse({
    file,
    place,
    tables,
    checked,
    isUnclean: header.isUnclean,
    allocator: describeAllocator(
      {
        path: file.path,
        grainBytes,
        tableBytes: tableBytes(header),
        tables: SECTOR_SCALE,
        limit: SPARSE_FILE_BYTES_MAX - SECTOR_BYTES,
        full: { code: 'EFBIG', reason: 'a COWD extent cannot grow past 2 TiB' },
        hasTableArea: false,
      },
      { end, allocated: checked.allocated },
    ),
    record: { kind: 'cowd', written: newRecordEnds(end, 0) },
    readOnly: use.readOnly,
    isSpaceFresh: false,
    directoryOffsets: directories.offsets,
    // ESXi reads an entry of 1 as zeros; other programs read sector 1.
    hasZeroedGrains: false,
    ...headerWrites(),
  });
}

/** Where the next table or grain goes: never over anything in use, whatever the header says. */
function endInUse(file: OpenedFile, header: CowdExtentHeader, used: number): number {
  const directoryEnd = header.gdOffset + header.directoryBytes;
  const isSensible = header.freeOffset >= directoryEnd && header.freeOffset <= file.length;
  const end = Math.max(used, directoryEnd, isSensible ? header.freeOffset : 0);
  return alignUp(end, SECTOR_BYTES);
}

/** The extent is in use from the first write to a clean end. */
function headerWrites(): { firstWrites: HeaderWrite[]; lastWrites: HeaderWrite[] } {
  const position = CowdHeader.uncleanShutdown.offset;
  return {
    firstWrites: [{ position, bytes: u32Bytes(1) }],
    lastWrites: [{ position, bytes: u32Bytes(0) }],
  };
}
