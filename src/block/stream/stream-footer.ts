/**
 * Finding the footer of a stream, the header that says where the directory is. It stands near the end
 * of the file, before whatever a tape, a download or a second stream has put behind it. So the last
 * footer whose directory makes sense counts; where there is none near the end, the stream is walked
 * through from its first grain, because every part says how long it is.
 */
import { alignDown, alignUp } from '../../binary/alignment.js';
import {
  directoryBytes,
  ENTRY_BYTES,
  tableBytes,
  tableCount,
  type Geometry,
} from '../../vmdk/layout.js';
import { CAPACITY_SECTORS_MAX, DIRECTORY_ENTRIES_MAX, SECTOR_BYTES } from '../../vmdk/limits.js';
import { decodeSparseHeader, type SparseHeader } from '../../vmdk/sparse-extent-header.js';
import {
  decodeStreamPart,
  footersIn,
  FOOTER_BYTES,
  isDirectoryMarker,
  isFooterMarker,
  LEAD_BYTES_MAX,
  PART_BYTES,
} from '../../vmdk/stream-marker.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { compressedMax } from '../compressed-grains.js';
import { readBytes } from '../find-descriptor.js';
import type { OpenedFile } from '../opened-files.js';

/** How much of the end of a file is searched before the stream is walked through. */
const SEARCH_BYTES = 1024 * 1024;

/** What a search has found: a header, or why there is none. */
type Search = SparseHeader | string;

/**
 * The footer of the stream that begins with `front`.
 *
 * @param start where its first grain may begin, bytes
 * @throws VmdkError VMDK_TRUNCATED where there is none that can be used, with the reason
 */
export function findStreamFooter(
  file: OpenedFile,
  front: SparseHeader,
  start: number,
): SparseHeader {
  const near = searchTail(file);
  if (typeof near !== 'string') return near;
  const found = front.hasMarkers ? walkToFooter(file, front, start) : near;
  if (typeof found !== 'string') return found;
  const disk = front.capacity === 0 ? '' : ` of a disk of ${front.capacity} bytes`;
  throw new VmdkError(
    'VMDK_TRUNCATED',
    file.path,
    `is a stream${disk} without a footer that can be used: ${found} (the file has ${file.length} bytes); copy or export it again`,
  );
}

/** The last footer near the end of the file whose directory makes sense. */
function searchTail(file: OpenedFile): Search {
  const end = alignDown(file.length, SECTOR_BYTES);
  const length = Math.min(end, SEARCH_BYTES);
  const tail = readBytes(file, end - length, length);
  let reason = `there is none of ${FOOTER_BYTES} bytes near the end of the file`;
  for (const at of footersIn(tail)) {
    const found = footerAt(file, end - length + at);
    if (typeof found !== 'string') return found;
    reason = found;
  }
  return reason;
}

/** The footer behind the marker at byte `marker` of the file. */
function footerAt(file: OpenedFile, marker: number): Search {
  const at = marker + SECTOR_BYTES;
  if (marker < SECTOR_BYTES || at + SECTOR_BYTES > file.length)
    return `it is cut off at byte ${at}`;
  let footer: SparseHeader;
  try {
    footer = decodeSparseHeader(readBytes(file, at, SECTOR_BYTES), file.path);
  } catch (error) {
    if (!(error instanceof VmdkError)) throw error;
    return `the one at byte ${at} is damaged (${error.reason})`;
  }
  if (footer.isDirectoryAtEnd) return `the one at byte ${at} does not say where the directory is`;
  if (!footer.isCompressed) return `the one at byte ${at} is no header of a stream`;
  return leadsToDirectory(file, footer, marker)
    ? footer
    : `the one at byte ${at} leads to no grain directory at byte ${footer.gdOffset}`;
}

/**
 * Whether what is at the place of the directory can be one. A footer of a second stream counts from
 * the start of that, and leads into the middle of the first.
 */
function leadsToDirectory(file: OpenedFile, footer: SparseHeader, marker: number): boolean {
  const { gdOffset } = footer;
  const count = tableCount(footer);
  const length = directoryBytes(footer);
  if (count > DIRECTORY_ENTRIES_MAX || gdOffset < SECTOR_BYTES) return false;
  if (gdOffset + length > file.length) return false;
  const isMarked =
    gdOffset + length === marker ||
    isDirectoryMarker(readBytes(file, gdOffset - SECTOR_BYTES, SECTOR_BYTES), footer);
  const entries = readBytes(file, gdOffset, count * ENTRY_BYTES);
  let used = 0;
  for (let index = 0; index < count; index++) {
    const place = entries.readUInt32LE(index * ENTRY_BYTES) * SECTOR_BYTES;
    if (place === 0) continue;
    if (place + tableBytes(footer) > file.length) return isMarked;
    used += 1;
  }
  return isMarked || used > 0;
}

/** The first footer that comes when the stream is followed from its first grain. */
function walkToFooter(file: OpenedFile, front: SparseHeader, start: number): Search {
  const { grainBytes } = front;
  // Who writes a stream as it comes may know its size only at its end.
  const capacity =
    front.capacity || alignDown(CAPACITY_SECTORS_MAX * SECTOR_BYTES, Math.max(1, grainBytes));
  const geometry: Geometry = { ...front, capacity };
  for (let at = start; at + LEAD_BYTES_MAX <= file.length;) {
    const sector = readBytes(file, at, PART_BYTES);
    if (isFooterMarker(sector)) return footerAt(file, at);
    const part = decodeStreamPart(sector, geometry, compressedMax(grainBytes));
    if (part === undefined) {
      return sector.every((byte) => byte === 0)
        ? `the stream ends at byte ${at} without one`
        : `byte ${at} begins neither a grain nor a marker`;
    }
    const next = alignUp(at + part.length, SECTOR_BYTES);
    if (at + part.length > file.length) {
      const what = part.kind === 'grain' ? `grain of disk offset ${part.offset}` : 'table';
      return `the file is cut off in the ${what} at byte ${at}`;
    }
    at = next;
  }
  return 'the file is cut off behind its last whole grain';
}
