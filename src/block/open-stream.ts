/**
 * Opening a streamOptimized extent. Where the front header leaves the directory to the end of the
 * file, the footer is the header that counts. The pass over all tables sees to it that every grain
 * begins inside the file; whether it can be inflated shows when it is read.
 */
import { tableBytes, tableCount } from '../vmdk/layout.js';
import { SECTOR_BYTES, STREAM_GRAIN_SECTORS_MAX } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { SparseHeader } from '../vmdk/sparse-extent-header.js';
import { checkTables, sectorTables } from './check-tables.js';
import { assertCovered, type CheckedExtent, type ExtentPlace } from './checked-extent.js';
import { readDirectories } from './directories.js';
import { describeTables } from './grain-tables.js';
import { headerAreas } from './open-hosted.js';
import type { OpenedFile, OpenedFiles } from './opened-files.js';
import { findStreamFooter } from './stream/stream-footer.js';

/**
 * Checks a stream at `place` of the disk; `files` counts its tables.
 *
 * @param front the header at the start of the file
 * @throws VmdkError that says what is wrong with it
 */
export function checkStream(
  files: OpenedFiles,
  file: OpenedFile,
  front: SparseHeader,
  place: ExtentPlace,
): CheckedExtent {
  const header = streamHeader(file, front);
  assertInflatable(file, header);
  const { grainBytes, tableEntries } = header;
  assertCovered(file, header.capacity, grainBytes, place.size);
  const count = tableCount(header);
  files.claimTables(count, file.path);
  // The redundant tables of such files are never newer, and nobody writes them.
  const plan = { geometry: header, offsets: [header.gdOffset], reserved: headerAreas(front) };
  const directories = readDirectories(file, plan);
  const tables = sectorTables(file.path, header, directories, SECTOR_BYTES);
  const { bounds } = tables;
  const found = checkTables(file, tables);
  const lastGrainBytes = header.capacity - (bounds.grainCount - 1) * grainBytes;
  return {
    kind: 'stream',
    grainBytes,
    tableCount: count,
    tableBytes: tableBytes(header),
    isUnclean: false,
    lateCopies: 0,
    describe: (slots, { cache, id }) => ({
      kind: 'stream',
      ...place,
      file,
      fileLength: file.length,
      grainBytes,
      lastGrainBytes: Math.min(lastGrainBytes, place.size % grainBytes || grainBytes),
      hasMarkers: header.hasMarkers,
      allocated: found.allocated,
      bounds,
      tables: describeTables(
        { tableCount: count, tableEntries },
        slots,
        directories.entries,
        found.unused,
      ),
      cache,
      id,
    }),
  };
}

function assertInflatable(file: OpenedFile, { grainBytes }: SparseHeader): void {
  const limit = STREAM_GRAIN_SECTORS_MAX * SECTOR_BYTES;
  if (grainBytes <= limit) return;
  throw new VmdkError(
    'VMDK_UNSUPPORTED',
    file.path,
    `its compressed grains are of ${grainBytes} bytes (at most ${limit} can be read); qemu-img convert makes an image with smaller ones`,
  );
}

/**
 * The header of a stream that counts.
 *
 * @throws VmdkError VMDK_TRUNCATED where it should be the footer and there is none
 */
export function streamHeader(file: OpenedFile, front: SparseHeader): SparseHeader {
  return front.isDirectoryAtEnd
    ? findStreamFooter(file, front, grainsStart(front, file.length))
    : front;
}

/** Where the first grain can be: behind what the header says of its metadata, if that can be. */
export function grainsStart(front: SparseHeader, length: number): number {
  const behind = Math.max(...headerAreas(front).map((area) => area.start + area.length));
  const { overHead } = front;
  return overHead >= behind && overHead < length ? overHead : behind;
}
