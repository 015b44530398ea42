/**
 * A FLAT or VMFS extent: a stretch of a plain file, byte for byte. Reads and writes go straight to
 * the file; a flush is one barrier when something was written since the last. Holes are the host's.
 */
import { holdingIn, type Extent, type Holding } from './extent.js';
import { HostFile, type HostFileDescription } from './host-file.js';
import type { LayerState } from './layer-state.js';

/** A flat extent as it travels between threads; bytes. */
export interface FlatExtentDescription {
  readonly kind: 'flat';
  readonly start: number;
  readonly size: number;
  readonly file: HostFileDescription;
  readonly fileOffset: number;
  /** One word: whether the file has writes that no barrier covers. */
  readonly dirty: SharedArrayBuffer;
}

/** Bytes zeroed with one write. */
const ZERO_CHUNK = new Uint8Array(1024 * 1024);

export class FlatExtent implements Extent {
  readonly start: number;
  readonly size: number;
  readonly #file: HostFile;
  readonly #fileOffset: number;
  readonly #dirty: Int32Array;
  readonly #state: LayerState;

  constructor(description: FlatExtentDescription, state: LayerState) {
    this.start = description.start;
    this.size = description.size;
    this.#file = new HostFile(description.file);
    this.#fileOffset = description.fileOffset;
    this.#dirty = new Int32Array(description.dirty);
    this.#state = state;
  }

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    this.#file.read(target, targetOffset, length, this.#fileOffset + offset);
  }

  get isDirty(): boolean {
    return Atomics.load(this.#dirty, 0) === 1;
  }

  /** Dirty before and after: a flush meanwhile covers a part at most. */
  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void {
    Atomics.store(this.#dirty, 0, 1);
    try {
      this.#file.write(source, sourceOffset, length, this.#fileOffset + offset);
    } finally {
      Atomics.store(this.#dirty, 0, 1);
    }
  }

  /** Gives the space back, or writes zeros where the host cannot. */
  zero(offset: number, length: number): void {
    let isPunched = false;
    Atomics.store(this.#dirty, 0, 1);
    try {
      isPunched = this.#state.punch(this.#file, this.#fileOffset + offset, length);
    } finally {
      Atomics.store(this.#dirty, 0, 1);
    }
    if (isPunched) return;
    for (let done = 0; done < length; done += ZERO_CHUNK.length) {
      this.write(ZERO_CHUNK, 0, Math.min(ZERO_CHUNK.length, length - done), offset + done);
    }
  }

  flush(): void {
    if (Atomics.exchange(this.#dirty, 0, 0) === 0) return;
    this.#state.barrier(this.#file);
  }

  holds(): boolean {
    return true;
  }

  holding(offset: number, limit: number): Holding {
    const base = this.#fileOffset;
    return holdingIn(this.#file, base + offset, base + limit, base);
  }

  nextData(offset: number, limit: number): number {
    const base = this.#fileOffset;
    return this.#file.nextData(base + offset, base + limit) - base;
  }

  nextHole(offset: number, limit: number): number {
    const base = this.#fileOffset;
    return this.#file.nextHole(base + offset, base + limit) - base;
  }

  /** Never more than the extent: the file may hold others. */
  allocatedBytes(): number {
    return Math.min(this.size, this.#file.allocatedBytes());
  }

  finish(): void {
    // A plain file has nothing that says how it was closed.
  }

  close(): void {
    this.#file.close();
  }
}
