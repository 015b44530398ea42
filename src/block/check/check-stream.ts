/**
 * Checking a streamOptimized extent: opening it checks directory and tables; every grain is then
 * read.
 */
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import type { SparseHeader } from '../../vmdk/sparse-extent-header.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { newGrainCache } from '../grain-cache.js';
import { LayerState, newLayerState } from '../layer-state.js';
import { checkStream } from '../open-stream.js';
import { OpenedFiles } from '../opened-files.js';
import { StreamExtent } from '../stream-extent.js';
import { report, type ExtentCheck } from './extent-check.js';

/** Tables in memory at a time: the grains are read in order. */
const SLOTS = 16;

/** Checks a compressed extent with `header` at its start. */
export function checkStreamExtent(check: ExtentCheck, header: SparseHeader): void {
  const place = { start: check.start, size: check.size };
  const checked = checkStream(new OpenedFiles(), check.file, header, place);
  const share = { cache: newGrainCache(SECTOR_BYTES, 0), id: 1 };
  const description = checked.describe(SLOTS, share);
  if (description.kind !== 'stream') throw new TypeError('a stream was described as another kind');
  const extent = new StreamExtent(description, undefined, new LayerState(newLayerState()));
  const { grainBytes } = description;
  const target = new Uint8Array(grainBytes);
  for (let at = extent.nextData(0, check.size); at < check.size;) {
    const grain = Math.floor(at / grainBytes);
    check.progress(at / check.size);
    const end = Math.min((grain + 1) * grainBytes, check.size);
    try {
      extent.read(target, 0, end - grain * grainBytes, grain * grainBytes);
    } catch (error) {
      if (!(error instanceof VmdkError)) throw error;
      const message = error.message.slice(error.file.length + 2);
      report(check, { kind: 'broken-grain', severity: 'error', grain, message }, grainBytes);
    }
    at = extent.nextData(end, check.size);
  }
}
