/**
 * A walk through a stream whose tables cannot be trusted: each grain says where it belongs and how
 * long it is, so that what is there can be found without them. Where nothing makes sense, the next
 * sector is looked at, until something does: damage in one place hides nothing behind it.
 */
import { alignUp } from '../../binary/alignment.js';
import { isZero } from '../../binary/zeros.js';
import type { Geometry } from '../../vmdk/layout.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { decodeStreamPart, PART_BYTES, type StreamPart } from '../../vmdk/stream-marker.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { compressedMax, type CompressedGrains } from '../compressed-grains.js';
import { HostFile } from '../host-file.js';
import { report, Window, type ExtentCheck } from './extent-check.js';

/** What is read of the file at a time, besides the grains themselves. */
const WINDOW_BYTES = 64 * 1024;

/** The part of the file that is walked through, in whole sectors. */
export interface StreamStretch {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads every grain between two places of the file, and reports those that cannot be read, and what
 * is neither grain nor marker.
 *
 * @returns the number of each grain that was found, good or bad, by its place in the file
 */
export function walkStream(
  check: ExtentCheck,
  geometry: Geometry,
  grains: CompressedGrains,
  stretch: StreamStretch,
): ReadonlyMap<number, number> {
  return new StreamWalk(check, geometry, grains, stretch).run();
}

/** Reports that `grain`, at byte `offset` of the file, cannot be read because of `error`. */
export function reportBroken(
  check: ExtentCheck,
  geometry: Geometry,
  grain: number,
  offset: number,
  error: VmdkError,
): void {
  // Grain and place are said by the problem itself.
  const message = error.message.replace(/^.*? \(disk offset \d+\) at byte \d+ /s, 'it ');
  const kind = 'broken-grain';
  report(check, { kind, severity: 'error', grain, offset, message }, geometry.grainBytes);
}

class StreamWalk {
  readonly #check: ExtentCheck;
  readonly #geometry: Geometry;
  readonly #grains: CompressedGrains;
  readonly #stretch: StreamStretch;
  readonly #window: Window;
  readonly #found = new Map<number, number>();

  constructor(
    check: ExtentCheck,
    geometry: Geometry,
    grains: CompressedGrains,
    stretch: StreamStretch,
  ) {
    this.#check = check;
    this.#geometry = geometry;
    this.#grains = grains;
    this.#stretch = stretch;
    this.#window = new Window(new HostFile(check.file), WINDOW_BYTES);
  }

  run(): ReadonlyMap<number, number> {
    const { end, start } = this.#stretch;
    let lost = start;
    for (let at = start; at < end && !this.#check.problems.isFull;) {
      const part = this.#partAt(at);
      if (part === undefined) {
        at += SECTOR_BYTES;
        continue;
      }
      this.#reportLost(lost, at);
      this.#check.progress((at - start) / (end - start));
      at = part.kind === 'grain' ? this.#read(at, part) : at + part.length;
      lost = at;
    }
    // What follows the last part may be the end of the stream, and what programs leave behind it.
    if (lost < end && !this.#isEnd(lost)) this.#reportLost(lost, end);
    return this.#found;
  }

  /** What begins at `at`; a lead without its zlib stream only where something follows the grain. */
  #partAt(at: number): StreamPart | undefined {
    const part = this.#decode(at);
    if (part?.kind !== 'grain' || part.isZlib) return part;
    return this.#isFollowed(at, part) ? part : undefined;
  }

  #decode(at: number): StreamPart | undefined {
    const sizeMax = compressedMax(this.#geometry.grainBytes);
    return decodeStreamPart(this.#window.at(at, PART_BYTES), this.#geometry, sizeMax);
  }

  /** Whether something that makes sense follows the grain at `at`, or the end of the stream. */
  #isFollowed(at: number, part: StreamPart): boolean {
    const next = alignUp(at + part.length, SECTOR_BYTES);
    return next >= this.#stretch.end || this.#isEnd(next) || this.#decode(next) !== undefined;
  }

  /** Whether the end-of-stream marker stands at `at`. */
  #isEnd(at: number): boolean {
    return isZero(this.#window.at(at, SECTOR_BYTES), 0, SECTOR_BYTES);
  }

  /**
   * Reads the grain at `at`.
   *
   * @returns where to go on: behind it, or where nothing follows it there, with the next sector
   */
  #read(at: number, part: StreamPart & { readonly kind: 'grain' }): number {
    const grain = part.offset / this.#geometry.grainBytes;
    this.#found.set(at, grain);
    const next = alignUp(at + part.length, SECTOR_BYTES);
    try {
      this.#grains.inflate(grain, at, part.length);
      return next;
    } catch (error) {
      if (!(error instanceof VmdkError)) throw error;
      reportBroken(this.#check, this.#geometry, grain, at, error);
      return this.#isFollowed(at, part) ? next : at + SECTOR_BYTES;
    }
  }

  #reportLost(start: number, end: number): void {
    if (start >= end) return;
    report(this.#check, {
      kind: 'broken-grain',
      severity: 'error',
      offset: start,
      message: `${end - start} bytes are neither a grain nor a marker`,
    });
  }
}
