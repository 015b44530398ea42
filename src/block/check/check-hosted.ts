/** Checking hosted sparse and COWD extents, whose entries are sectors. */
import { u32Bytes } from '../../binary/struct.js';
import { intervalsOf, joinIntervals, type Intervals } from '../../binary/intervals.js';
import { alignUp } from '../../binary/alignment.js';
import { CowdHeader, decodeCowdHeader, type CowdExtentHeader } from '../../vmdk/cowd-header.js';
import type { Geometry } from '../../vmdk/layout.js';
import { SECTOR_BYTES, SPARSE_FILE_BYTES_MAX } from '../../vmdk/limits.js';
import { SparseExtentHeader, type SparseHeader } from '../../vmdk/sparse-extent-header.js';
import { readBytes } from '../find-descriptor.js';
import { HostFile } from '../host-file.js';
import { headerAreas } from '../open-hosted.js';
import { checkDirectories } from './check-directories.js';
import { checkSectorTables, usedIntervals } from './check-sector-tables.js';
import { leakOf, report, type ExtentCheck } from './extent-check.js';
import { reportDirectories } from './mend-directories.js';
import type { Repair } from './problem.js';

/** ESXi fills the last page of a COWD directory up before the first table or grain. */
const COWD_PAGE_BYTES = 4096;

/** Checks a hosted sparse extent that is not compressed. */
export function checkHostedExtent(check: ExtentCheck, header: SparseHeader): void {
  checkCapacity(check, header);
  checkOverHead(check, header);
  const offsets = header.hasRedundant ? [header.gdOffset, header.rgdOffset] : [header.gdOffset];
  const directories = checkDirectories(check, header, offsets, headerAreas(header));
  const { grainBytes, uncleanShutdown: isUnclean } = header;
  const rules = { isUnclean, footprint: grainBytes };
  const { end, sectors } = checkSectorTables(check, header, directories, rules);
  // Space for tables that do not exist yet is no leak: VMware takes it to be theirs.
  const fixed = intervalsOf(Float64Array.of(0), Math.min(header.overHead, check.file.length));
  const inUse = usedIntervals(header, directories.metadata, sectors);
  const used = joinIntervals(fixed, inUse);
  const useEnd = Math.max(end, used.at(-1) ?? 0);
  const space = { isUnclean, used: inUse, end: useEnd };
  const { growsFile, planned } = reportDirectories(check, header, directories, space);
  checkLeaks(check, header, joinIntervals(used, planned), useEnd, !growsFile);
  if (!isUnclean) return;
  const { offset } = SparseExtentHeader.uncleanShutdown;
  reportUnclean(check, offset, Uint8Array.of(0));
}

function checkOverHead(check: ExtentCheck, header: SparseHeader): void {
  if (header.overHead <= check.file.length) return;
  report(check, {
    kind: 'truncated',
    severity: 'error',
    offset: check.file.length,
    message: `its metadata ends at byte ${header.overHead}, but the file has only ${check.file.length}`,
  });
}

/** Checks a COWD extent. */
export function checkCowdExtent(check: ExtentCheck): void {
  const { file } = check;
  const header = decodeCowdHeader(readBytes(file, 0, CowdHeader.byteLength), file.path);
  checkCapacity(check, header);
  const reserved = [{ start: 0, length: CowdHeader.byteLength }];
  const directories = checkDirectories(check, header, [header.gdOffset], reserved);
  const { grainBytes, isUnclean } = header;
  const rules = { isUnclean, footprint: grainBytes };
  const { end, sectors } = checkSectorTables(check, header, directories, rules);
  const space = { isUnclean, used: usedIntervals(header, directories.metadata, sectors), end };
  reportDirectories(check, header, directories, space);
  if (directories.directories.every(({ isPlaced }) => isPlaced)) {
    const used = Math.max(end, directories.metadata.at(-1) ?? 0);
    checkFreeSector(check, header, used);
    checkCowdLeaks(check, header, space.used);
  }
  const { offset } = CowdHeader.uncleanShutdown;
  if (isUnclean) reportUnclean(check, offset, u32Bytes(0));
}

/**
 * Space below where free space begins that nothing leads to. What lies behind is set aside, and no
 * leak; what grains left behind need not be either, where the disk was written by others: it is only
 * said.
 */
function checkCowdLeaks(check: ExtentCheck, header: CowdExtentHeader, used: Intervals): void {
  const start = alignUp(header.gdOffset + header.directoryBytes, COWD_PAGE_BYTES);
  // A header that says nothing sensible is not believed when the file is written to, either.
  const isSensible = header.freeOffset <= check.file.length;
  const end = isSensible ? header.freeOffset : (used.at(-1) ?? 0);
  // Where an entry is wrong, it may be what leads there.
  if (end <= start || check.problems.errorsIn(check.file.path) > 0) return;
  let bytes = 0;
  for (const { length } of dataGaps(check, used, start, end, header.grainBytes)) bytes += length;
  if (bytes > 0) report(check, leakOf(bytes));
}

/** Where the next grain or table goes must lie behind everything in use, which ends at `used`. */
function checkFreeSector(check: ExtentCheck, header: CowdExtentHeader, used: number): void {
  const useEnd = alignUp(Math.max(used, header.gdOffset + header.directoryBytes), SECTOR_BYTES);
  if (header.freeOffset >= useEnd || useEnd >= SPARSE_FILE_BYTES_MAX) return;
  const { offset } = CowdHeader.freeSector;
  report(check, {
    kind: 'allocation-record',
    severity: 'error',
    offset,
    message: `the header says that free space begins at byte ${header.freeOffset}, but what is in use ends at byte ${useEnd}`,
    repairs: [
      {
        phase: 'space',
        what: `let free space begin at byte ${useEnd}`,
        writes: [{ position: offset, bytes: u32Bytes(useEnd / SECTOR_BYTES) }],
      },
    ],
  });
}

function checkCapacity(check: ExtentCheck, header: Geometry): void {
  if (check.size <= alignUp(header.capacity, header.grainBytes)) return;
  report(check, {
    kind: 'capacity',
    severity: 'error',
    message: `its extent line has ${check.size} bytes, its header only ${header.capacity}`,
  });
}

/** Space between and behind grains that the host has bytes for, in whole grains. */
function checkLeaks(
  check: ExtentCheck,
  geometry: Geometry,
  used: Intervals,
  useEnd: number,
  mayShorten: boolean,
): void {
  const { file } = check;
  // A device is all there, and longer than what is on it.
  if (!Number.isFinite(new HostFile(file).allocatedBytes())) return;
  const punches = [...dataGaps(check, used, used[1] ?? useEnd, useEnd, geometry.grainBytes)];
  const tail = Math.max(0, file.length - useEnd);
  const bytes = tail + punches.reduce((sum, { length }) => sum + length, 0);
  if (bytes < geometry.grainBytes) return;
  const shorten = mayShorten && tail > 0 ? { length: useEnd } : {};
  const repair: Repair = {
    phase: 'space',
    what: `give ${bytes} bytes back to the host`,
    punches,
    ...shorten,
  };
  report(check, { ...leakOf(bytes), repairs: [repair] });
}

/**
 * Stretches between `used`, from `start` on and up to `end`, that have room for a grain, and bytes on
 * the host.
 */
function* dataGaps(
  check: ExtentCheck,
  used: Intervals,
  start: number,
  end: number,
  grainBytes: number,
): Generator<{ position: number; length: number }> {
  const host = new HostFile(check.file);
  for (let index = -1; index < used.length; index += 2) {
    const position = alignUp(Math.max(start, used[index] ?? 0), grainBytes);
    const length = Math.min(used[index + 1] ?? end, end) - position;
    if (length < grainBytes || host.nextData(position, position + length) >= position + length) {
      continue;
    }
    yield { position, length };
  }
}

/** The flag can go when nothing is wrong any more; `repair` sees to that. */
function reportUnclean(check: ExtentCheck, position: number, bytes: Uint8Array): void {
  report(check, {
    kind: 'unclean',
    severity: 'unclean',
    offset: position,
    message: 'was not closed cleanly',
    repairs: [{ phase: 'flag', what: 'mark it as closed', writes: [{ position, bytes }] }],
  });
}
