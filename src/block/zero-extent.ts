/**
 * Extents without a file. ZERO reads as zeros, and only zeros can be written to it: anything else
 * would be lost, so it fails. NOACCESS fails for reads and writes alike.
 */
import { systemError } from '../errno.js';
import { isZero } from '../binary/zeros.js';
import type { Extent, Holding } from './extent.js';

/** An extent without a file as it travels between threads; bytes. */
export interface ZeroExtentDescription {
  readonly kind: 'zero' | 'noaccess';
  readonly start: number;
  readonly size: number;
  /** The descriptor, for messages. */
  readonly path: string;
}

export class ZeroExtent implements Extent {
  readonly start: number;
  readonly size: number;
  readonly isDirty = false;
  readonly #path: string;
  readonly #isReadable: boolean;

  constructor(description: ZeroExtentDescription) {
    this.start = description.start;
    this.size = description.size;
    this.#path = description.path;
    this.#isReadable = description.kind === 'zero';
  }

  read(target: Uint8Array, targetOffset: number, length: number): void {
    if (!this.#isReadable) throw this.#refusal('a NOACCESS extent cannot be read');
    target.fill(0, targetOffset, targetOffset + length);
  }

  write(source: Uint8Array, sourceOffset: number, length: number): void {
    if (!this.#isReadable) throw this.#refusal('a NOACCESS extent cannot be written');
    if (!isZero(source, sourceOffset, length)) {
      throw this.#refusal('a ZERO extent cannot hold data other than zeros');
    }
  }

  zero(): void {
    if (!this.#isReadable) throw this.#refusal('a NOACCESS extent cannot be written');
  }

  flush(): void {
    // Nothing is ever written.
  }

  holds(): boolean {
    return true;
  }

  holding(_offset: number, limit: number): Holding {
    if (!this.#isReadable) throw this.#refusal('a NOACCESS extent cannot be read');
    return { kind: 'zero', end: limit };
  }

  nextData(offset: number, limit: number): number {
    return this.#isReadable ? limit : offset;
  }

  nextHole(offset: number, limit: number): number {
    return this.#isReadable ? offset : limit;
  }

  allocatedBytes(): number {
    return 0;
  }

  finish(): void {
    // Nothing was written.
  }

  close(): void {
    // There is no file.
  }

  #refusal(reason: string): NodeJS.ErrnoException {
    return systemError('EIO', `${this.#path}: ${reason}`);
  }
}
