/**
 * A device for callers that are not ours. The engine leaves checks of ranges to its caller, and never
 * uses a device that it has closed; here both are refused.
 */
import { systemError } from '../errno.js';
import type { BlockDevice } from './block-device.js';

export class GuardedDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly size: number;
  readonly readOnly: boolean;
  #isClosed = false;

  constructor(device: BlockDevice) {
    this.#device = device;
    this.size = device.size;
    this.readOnly = device.readOnly;
  }

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    this.#check(length, offset);
    assertInside('target', targetOffset, length, target.length);
    this.#device.read(target, targetOffset, length, offset);
  }

  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void {
    this.#check(length, offset);
    assertInside('source', sourceOffset, length, source.length);
    this.#device.write(source, sourceOffset, length, offset);
  }

  zero(offset: number, length: number): void {
    this.#check(length, offset);
    this.#device.zero(offset, length);
  }

  flush(): void {
    this.#assertOpen();
    this.#device.flush();
  }

  nextData(offset: number, limit: number): number {
    this.#check(limit - offset, offset);
    return this.#device.nextData(offset, limit);
  }

  nextHole(offset: number, limit: number): number {
    this.#check(limit - offset, offset);
    return this.#device.nextHole(offset, limit);
  }

  allocatedBytes(): number {
    this.#assertOpen();
    return this.#device.allocatedBytes();
  }

  /** Once is enough; again it does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#device.close();
  }

  #check(length: number, offset: number): void {
    this.#assertOpen();
    assertInside('disk', offset, length, this.size);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw systemError('EBADF', 'the image is closed');
  }
}

/** @throws RangeError */
function assertInside(what: string, offset: number, length: number, size: number): void {
  const isInside =
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(length) &&
    offset >= 0 &&
    length >= 0 &&
    offset + length <= size;
  if (isInside) return;
  throw new RangeError(
    `${length} bytes at ${offset} do not lie in the ${what}, which has ${size} bytes`,
  );
}
