import type { BlockDevice } from './block-device.js';
import type { HostFile } from './host-file.js';

/** What an extent itself holds from some offset on: a stretch of one kind. */
export interface Holding {
  /** `nothing` is where what lies beneath shows through. */
  readonly kind: 'data' | 'zero' | 'nothing';
  /** Where it ends, in bytes from the start of the extent; more of the kind may follow. */
  readonly end: number;
  /** Where its bytes stand as they are; absent where there are none, or they are compressed. */
  readonly place?: { readonly file: string; readonly offset: number };
  readonly isCompressed?: true;
}

/**
 * What `file` holds from its byte `position` on, up to `limit`.
 *
 * @param shift from offsets in the extent to bytes of the file
 */
export function holdingIn(file: HostFile, position: number, limit: number, shift: number): Holding {
  const { end, isHole, place } = file.stretch(position, limit);
  const kind = isHole ? 'zero' : 'data';
  const where = place === undefined ? {} : { place: { file: file.path, offset: place } };
  return { kind, end: end - shift, ...where };
}

/**
 * An extent: one piece of a disk with its own file, or none. It does what a device does, with
 * offsets from its own start; the layer has checked that it may be written.
 */
export interface Extent extends Omit<BlockDevice, 'readOnly' | 'close'> {
  /** Where the extent begins on the disk, in bytes. */
  readonly start: number;

  /** Whether something was written, or is being written, that no barrier covers yet. */
  readonly isDirty: boolean;

  /**
   * Whether anything in the range is this extent's own, so that what lies beneath does not show
   * through all of it.
   */
  holds(offset: number, length: number): boolean;

  /**
   * What this extent holds at `offset`, looking no further than `limit`. Empty tables take no time;
   * holes of the host count as zeros.
   */
  holding(offset: number, limit: number): Holding;

  /** Writes what says that the extent was closed cleanly; after the last flush, one thread. */
  finish(): void;

  /** Closes the file, whatever is in memory. */
  close(): void;
}
