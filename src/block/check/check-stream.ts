/**
 * Checking a streamOptimized extent: directory and tables, and where they are sound, every grain by
 * reading it.
 */
import { ENTRY_BYTES } from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import type { SparseHeader } from '../../vmdk/sparse-extent-header.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { readBytes } from '../find-descriptor.js';
import { newGrainCache } from '../grain-cache.js';
import { LayerState, newLayerState } from '../layer-state.js';
import { headerAreas } from '../open-hosted.js';
import { checkStream, streamHeader } from '../open-stream.js';
import { OpenedFiles } from '../opened-files.js';
import { StreamExtent, type StreamExtentDescription } from '../stream-extent.js';
import { checkDirectories, tableAt, type Directory } from './check-directories.js';
import { checkSectorTables } from './check-sector-tables.js';
import { report, type ExtentCheck } from './extent-check.js';
import { reportDirectories } from './mend-directories.js';

/** Tables in memory at a time: the grains are read in order. */
const SLOTS = 16;

/** Checks a compressed extent with `front` at its start. */
export function checkStreamExtent(check: ExtentCheck, front: SparseHeader): void {
  const { file, problems } = check;
  const before = problems.errorsIn(file.path) + problems.dropped;
  const header = streamHeader(file, front);
  const found = checkDirectories(check, header, [header.gdOffset], headerAreas(front));
  const rules = { isUnclean: false, footprint: SECTOR_BYTES };
  const quiet = { ...check, progress: () => undefined };
  const { end } = checkSectorTables(quiet, header, found, rules);
  const space = { isUnclean: false, used: found.metadata, end };
  reportDirectories(check, header, found, space);
  if (problems.errorsIn(file.path) + problems.dropped > before) return;
  const place = { start: check.start, size: check.size };
  const share = { cache: newGrainCache(SECTOR_BYTES, 0), id: 1 };
  const description = checkStream(new OpenedFiles(), file, front, place).describe(SLOTS, share);
  if (description.kind !== 'stream') throw new TypeError('a stream was described as another kind');
  readGrains(check, description, found.directories[0]);
}

function readGrains(
  check: ExtentCheck,
  description: StreamExtentDescription,
  directory: Directory | undefined,
): void {
  const extent = new StreamExtent(description, undefined, new LayerState(newLayerState()));
  const { grainBytes, tables } = description;
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
      // Grain and place are said by the problem itself.
      const message = error.message.replace(/^.*? \(disk offset \d+\) at byte \d+ /s, 'it ');
      const kind = 'broken-grain';
      report(check, { kind, severity: 'error', grain, offset, message }, grainBytes);
    }
    at = extent.nextData(end, check.size);
  }
}
