/**
 * Checking a streamOptimized extent: footer, directory and tables, and every grain by reading it. As
 * long as the tables are sound they lead to the grains. Where they are not, the file is walked
 * through instead, and what the tables still lead to is held against what was found there.
 */
import { alignUp } from '../../binary/alignment.js';
import { findOverlap } from '../../binary/intervals.js';
import { isAllocated } from '../../vmdk/grain-entry.js';
import {
  ENTRY_BYTES,
  grainCount,
  tableBytes,
  tableCount,
  type Geometry,
} from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import type { SparseHeader } from '../../vmdk/sparse-extent-header.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { CompressedGrains } from '../compressed-grains.js';
import { readBytes } from '../find-descriptor.js';
import { newGrainCache } from '../grain-cache.js';
import { HostFile } from '../host-file.js';
import { LayerState, newLayerState } from '../layer-state.js';
import { headerAreas } from '../open-hosted.js';
import { checkStream, grainsStart, streamHeader } from '../open-stream.js';
import { OpenedFiles } from '../opened-files.js';
import { StreamExtent, type StreamExtentDescription } from '../stream-extent.js';
import {
  checkDirectories,
  tableAt,
  type CheckedDirectories,
  type Directory,
} from './check-directories.js';
import { checkSectorTables } from './check-sector-tables.js';
import { report, type ExtentCheck } from './extent-check.js';
import { reportDirectories } from './mend-directories.js';
import { reportBroken, walkStream } from './walk-stream.js';

/** Tables in memory at a time: the grains are read in order. */
const SLOTS = 16;

/** Checks a compressed extent with `front` at its start. */
export function checkStreamExtent(check: ExtentCheck, front: SparseHeader): void {
  const { file, problems } = check;
  const before = problems.errorsIn(file.path) + problems.dropped;
  const header = headerOf(check, front);
  const found = header === undefined ? undefined : checkEntries(check, front, header);
  if (header === undefined || problems.errorsIn(file.path) + problems.dropped > before) {
    readDamaged(check, front, header, found);
    return;
  }
  const place = { start: check.start, size: check.size };
  const share = { cache: newGrainCache(header.grainBytes, 0), id: 1 };
  const description = checkStream(new OpenedFiles(), file, front, place).describe(SLOTS, share);
  if (description.kind !== 'stream') throw new TypeError('a stream was described as another kind');
  readGrains(check, description, found?.directories[0]);
}

/** The header that counts; where it is not there, that is reported. */
function headerOf(check: ExtentCheck, front: SparseHeader): SparseHeader | undefined {
  try {
    return streamHeader(check.file, front);
  } catch (error) {
    if (!(error instanceof VmdkError)) throw error;
    report(check, { kind: 'unusable', severity: 'error', message: error.reason });
    return undefined;
  }
}

function checkEntries(
  check: ExtentCheck,
  front: SparseHeader,
  header: SparseHeader,
): CheckedDirectories {
  const found = checkDirectories(check, header, [header.gdOffset], headerAreas(front));
  const rules = { isUnclean: false, footprint: SECTOR_BYTES };
  const quiet = { ...check, progress: () => undefined };
  const { end } = checkSectorTables(quiet, header, found, rules);
  reportDirectories(check, header, found, { isUnclean: false, used: found.metadata, end });
  return found;
}

function readGrains(
  check: ExtentCheck,
  description: StreamExtentDescription,
  directory: Directory | undefined,
): void {
  const extent = new StreamExtent(description, undefined, new LayerState(newLayerState()));
  const { grainBytes, tables } = description;
  const geometry = { ...tables, grainBytes, capacity: check.size };
  const target = new Uint8Array(grainBytes);
  for (let at = extent.nextData(0, check.size); at < check.size;) {
    const grain = Math.floor(at / grainBytes);
    check.progress(at / check.size);
    const end = Math.min((grain + 1) * grainBytes, check.size);
    try {
      extent.read(target, 0, end - grain * grainBytes, grain * grainBytes);
    } catch (error) {
      if (!(error instanceof VmdkError)) throw error;
      const table = tableAt(directory, Math.floor(grain / tables.tableEntries)) * SECTOR_BYTES;
      const position = table + (grain % tables.tableEntries) * ENTRY_BYTES;
      const offset = readBytes(check.file, position, ENTRY_BYTES).readUInt32LE() * SECTOR_BYTES;
      reportBroken(check, geometry, grain, offset, error);
    }
    at = extent.nextData(end, check.size);
  }
}

/** Reads what can be found of a stream whose footer or tables are damaged. */
function readDamaged(
  check: ExtentCheck,
  front: SparseHeader,
  header: SparseHeader | undefined,
  found: CheckedDirectories | undefined,
): void {
  const { file, size } = check;
  const { grainBytes, hasMarkers, tableEntries } = header ?? front;
  // Who writes a stream as it comes may know its size only at its end.
  const capacity = (header ?? front).capacity || alignUp(size, grainBytes);
  const geometry = { capacity, grainBytes, tableEntries };
  const count = grainCount(geometry);
  const grains = new CompressedGrains(new HostFile(file), {
    start: check.start,
    fileLength: file.length,
    grainBytes,
    grainCount: count,
    lastGrainBytes: Math.min(capacity - (count - 1) * grainBytes, size % grainBytes || grainBytes),
    hasMarkers,
  });
  const end = alignUp(file.length, SECTOR_BYTES);
  const stretch = { start: grainsStart(front, file.length), end };
  const seen = hasMarkers
    ? walkStream(check, geometry, grains, stretch)
    : new Map<number, number>();
  if (found !== undefined) readEntries(check, geometry, found, { grains, seen });
}

/** Reads the grains that good tables lead to where the walk has not found them. */
function readEntries(
  check: ExtentCheck,
  geometry: Geometry,
  { directories: [directory], metadata }: CheckedDirectories,
  { grains, seen }: { grains: CompressedGrains; seen: ReadonlyMap<number, number> },
): void {
  const { grainBytes, tableEntries } = geometry;
  const count = grainCount(geometry);
  for (let table = 0; table < tableCount(geometry); table++) {
    const sector = tableAt(directory, table);
    if (sector === 0 || check.problems.isFull) continue;
    const bytes = readBytes(check.file, sector * SECTOR_BYTES, tableBytes(geometry));
    for (let index = 0; index < tableEntries; index++) {
      const grain = table * tableEntries + index;
      const word = bytes.readUInt32LE(index * ENTRY_BYTES);
      const place = word * SECTOR_BYTES;
      if (!isAllocated(word) || grain >= count || seen.get(place) === grain) continue;
      // What cannot be a grain's place is reported by its entry.
      if (place >= check.file.length) continue;
      if (findOverlap(metadata, place, SECTOR_BYTES) >= 0) continue;
      try {
        grains.inflate(grain, place, grainBytes);
      } catch (error) {
        if (!(error instanceof VmdkError)) throw error;
        reportBroken(check, geometry, grain, place, error);
      }
    }
  }
}
