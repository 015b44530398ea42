import type { BlockDevice } from './block-device.js';

/**
 * An extent: one piece of a disk with its own file, or none. It does what a device does, with
 * offsets from its own start; the layer has checked that it may be written.
 */
export interface Extent extends Omit<BlockDevice, 'readOnly' | 'close'> {
  /** Where the extent begins on the disk, in bytes. */
  readonly start: number;

  /**
   * Whether anything in the range is this extent's own, so that what lies beneath does not show
   * through all of it.
   */
  holds(offset: number, length: number): boolean;

  /** Writes what says that the extent was closed cleanly; after the last flush, one thread. */
  finish(): void;

  /** Closes the file, whatever is in memory. */
  close(): void;
}
