/**
 * How much of a range of the disk takes up space. Counting goes from hole to hole, which takes long on
 * a large, fragmented disk, and attributes are asked for often: a count is used again as long as
 * nothing was written, and for a while also where something was.
 */
import type { BlockDevice } from '../block/block-device.js';

/** Most runs of data that are counted; what lies behind is taken to be as full as what lies before. */
const RUNS_MAX = 50_000;

/** A count is used for as many times the time it took, while the disk is written to. */
const PATIENCE = 20;

interface Count {
  readonly mtime: number;
  /** When it need not be used any more, by `performance.now`. */
  readonly until: number;
  readonly bytes: number;
}

export class RangeUsage {
  readonly #device: BlockDevice;
  readonly #counts = new Map<string, Count>();

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  /**
   * Bytes of the `size` bytes from `start` on that take up space.
   *
   * @param mtime when the disk was last written to
   */
  bytesIn(start: number, size: number, mtime: number): number {
    const key = `${start}+${size}`;
    const begun = performance.now();
    const known = this.#counts.get(key);
    if (known !== undefined && (known.mtime === mtime || begun < known.until)) return known.bytes;
    const bytes = this.#count(start, start + size);
    const ended = performance.now();
    this.#counts.set(key, { mtime, until: ended + PATIENCE * (ended - begun), bytes });
    return bytes;
  }

  #count(start: number, end: number): number {
    let bytes = 0;
    let offset = start;
    for (let runs = 0; offset < end; runs++) {
      if (runs === RUNS_MAX) return Math.round((bytes / (offset - start)) * (end - start));
      const data = this.#device.nextData(offset, end);
      offset = this.#device.nextHole(data, end);
      bytes += offset - data;
    }
    return bytes;
  }
}
