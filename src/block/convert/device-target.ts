/**
 * Copying into an image that the engine writes. Units of zeros are left out: the image is new, and
 * holds zeros there. Neighbours that are not left out are one write, so that grains, which a new
 * image allocates in order, are written in large stretches.
 *
 * Over a parent only units are written that differ from it; zeros over data are zeroed, where the
 * image can say so without holding them.
 */
import { isZero } from '../../binary/zeros.js';
import { attachImage, type ImageDescription } from '../attach-image.js';
import type { BlockDevice } from '../block-device.js';
import { HostFile } from '../host-file.js';
import { PIECE_BYTES, type Piece } from './conversion-state.js';

/** Smallest and largest unit that is looked at by itself: a page, and VMware's grain. */
const UNIT_BYTES_MIN = 4096;
const UNIT_BYTES_MAX = 64 * 1024;

/** The host is told to begin writing after so many bytes. */
const WRITEBACK_BYTES = 8 * 1024 * 1024;

/** What is done with a unit. */
type Fate = 'leave' | 'write' | 'zero';

export class DeviceTarget {
  readonly #device: BlockDevice;
  readonly #parent: BlockDevice | undefined;
  readonly #unit: number;
  readonly #files: readonly HostFile[];
  readonly #bytes = Buffer.alloc(PIECE_BYTES);
  readonly #beneath: Buffer;
  #unsent = 0;

  /** @param parent the disk beneath `image`, where it is a child */
  constructor(image: ImageDescription, parent: BlockDevice | undefined) {
    const extents = image.layers[0]?.extents ?? [];
    const grains = extents.map((extent) => ('grainBytes' in extent ? extent.grainBytes : 0));
    this.#device = attachImage(image);
    this.#parent = parent;
    this.#unit = Math.min(UNIT_BYTES_MAX, Math.max(UNIT_BYTES_MIN, ...grains));
    this.#files = extents.flatMap((extent) =>
      'file' in extent ? [new HostFile(extent.file)] : [],
    );
    this.#beneath = Buffer.alloc(parent === undefined ? 0 : PIECE_BYTES);
  }

  /** Copies a piece of `source`, of which it may take all. */
  copy(source: BlockDevice, { end, start }: Piece): void {
    const length = end - start;
    source.read(this.#bytes, 0, length, start);
    if (this.#parent !== undefined) this.#readBeneath(this.#parent, start, length);
    for (let at = 0; at < length;) {
      const fate = this.#fate(at, length);
      let runEnd = Math.min(length, at + this.#unit);
      while (runEnd < length && this.#fate(runEnd, length) === fate) {
        runEnd = Math.min(length, runEnd + this.#unit);
      }
      if (fate === 'zero') this.#device.zero(start + at, runEnd - at);
      if (fate === 'write') this.#write(at, runEnd - at, start + at);
      at = runEnd;
    }
  }

  #readBeneath(parent: BlockDevice, start: number, length: number): void {
    const there = Math.max(0, Math.min(length, parent.size - start));
    if (there > 0) parent.read(this.#beneath, 0, there, start);
    this.#beneath.fill(0, there, length);
  }

  #fate(at: number, length: number): Fate {
    const end = Math.min(length, at + this.#unit);
    const isNothing = isZero(this.#bytes, at, end - at);
    if (this.#parent === undefined) return isNothing ? 'leave' : 'write';
    if (this.#bytes.compare(this.#beneath, at, end, at, end) === 0) return 'leave';
    return isNothing ? 'zero' : 'write';
  }

  #write(at: number, length: number, offset: number): void {
    this.#device.write(this.#bytes, at, length, offset);
    this.#unsent += length;
    if (this.#unsent < WRITEBACK_BYTES) return;
    this.#unsent = 0;
    for (const file of this.#files) file.startWriteback(0, 0);
  }
}
