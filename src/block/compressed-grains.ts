/**
 * The compressed grains of a stream, read from their places. What leads a grain is held against what
 * is known of it: where it belongs, how long it may be; and it has to inflate to its size.
 */
import { inflateSync } from 'node:zlib';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { decodeGrainLead, LEAD_BYTES_MAX } from '../vmdk/stream-marker.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { HostFile } from './host-file.js';

/** What has to be known of a stream to read its grains; bytes. */
export interface CompressedFacts {
  /** Where the extent begins on the disk. */
  readonly start: number;
  readonly fileLength: number;
  readonly grainBytes: number;
  readonly grainCount: number;
  /** Bytes that the last grain has to inflate to at least; the others are whole. */
  readonly lastGrainBytes: number;
  /** Whether what leads a grain says where it belongs. */
  readonly hasMarkers: boolean;
}

/**
 * A compressed grain takes at most this many times its size and a sector; incompressible data takes
 * a few bytes more than itself.
 */
const COMPRESSED_MAX = 2;

/** Memory for a compressed grain with what leads it; one for each thread. */
let compressed = Buffer.alloc(0);

/** That memory, for grains of `grainBytes`: made when a thread first reads such a stream. */
function compressedBuffer(grainBytes: number): Buffer {
  const length = compressedMax(grainBytes) + LEAD_BYTES_MAX;
  if (compressed.length < length) compressed = Buffer.alloc(length);
  return compressed;
}

/** Most bytes of compressed data that a grain of `grainBytes` may have. */
export function compressedMax(grainBytes: number): number {
  return COMPRESSED_MAX * grainBytes + SECTOR_BYTES;
}

export class CompressedGrains {
  readonly #file: HostFile;
  readonly #facts: CompressedFacts;

  constructor(file: HostFile, facts: CompressedFacts) {
    this.#file = file;
    this.#facts = facts;
  }

  /**
   * The bytes of `grain`, which lies at byte `place` of the file; `likelyBytes` are read at once.
   *
   * @throws VmdkError VMDK_BAD_GRAIN; the system's error
   */
  inflate(grain: number, place: number, likelyBytes: number): Uint8Array {
    const { grainBytes, grainCount, lastGrainBytes } = this.#facts;
    const data = this.#readCompressed(grain, place, likelyBytes);
    let bytes: Uint8Array;
    try {
      // In one piece, and a grain that wants to be larger is an error before it is.
      bytes = inflateSync(data, { chunkSize: grainBytes + 64, maxOutputLength: grainBytes });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw this.#bad(grain, place, `cannot be inflated: ${reason}`, { cause: error });
    }
    const wanted = grain === grainCount - 1 ? lastGrainBytes : grainBytes;
    if (bytes.length >= wanted) return bytes;
    throw this.#bad(grain, place, `inflates to ${bytes.length} bytes (${wanted} expected)`);
  }

  /** The compressed data of a grain, in memory that the next call uses again. */
  #readCompressed(grain: number, place: number, likelyBytes: number): Uint8Array {
    const { fileLength, grainBytes, hasMarkers } = this.#facts;
    const there = fileLength - place;
    if (there < LEAD_BYTES_MAX) throw this.#bad(grain, place, 'is cut off by the end of the file');
    const bytes = compressedBuffer(grainBytes);
    // Most grains are there with the first read, and little else.
    const guess = Math.min(likelyBytes, there);
    this.#file.read(bytes, 0, guess, place);
    const sizeMax = compressedMax(grainBytes);
    const lead = decodeGrainLead(bytes, hasMarkers, sizeMax);
    if (lead.offset !== undefined && lead.offset !== grain * grainBytes) {
      throw this.#bad(grain, place, `is marked as that of offset ${lead.offset} of the extent`);
    }
    const limit = Math.min(sizeMax, there - lead.length);
    const size = lead.size ?? limit;
    if (size === 0 || size > limit) {
      throw this.#bad(grain, place, `has ${size} compressed bytes (1 to ${limit} expected)`);
    }
    const end = lead.length + size;
    if (end > guess) this.#file.read(bytes, guess, end - guess, place + guess);
    return bytes.subarray(lead.length, end);
  }

  #bad(grain: number, place: number, what: string, options?: ErrorOptions): VmdkError {
    const offset = this.#facts.start + grain * this.#facts.grainBytes;
    return new VmdkError(
      'VMDK_BAD_GRAIN',
      this.#file.path,
      `grain ${grain} (disk offset ${offset}) at byte ${place} ${what}; the image is corrupt`,
      options,
    );
  }
}
