/**
 * The package as a library: disks in VMDK images as devices of bytes. All calls are synchronous.
 * What is wrong with an image is a `VmdkError`, what the system refuses is Node's own error.
 */
import type { BlockDevice } from './block/block-device.js';
import { createImage as create } from './block/create-image.js';
import { GuardedDevice } from './block/guarded-device.js';
import { listDisks as list, openImage as open } from './block/open-image.js';
import type { OpenPermissions } from './block/open-policy.js';
import type { Adapter } from './vmdk/disk-geometry.js';
import type { Subformat } from './vmdk/subformat.js';

export { VmdkError, type VmdkErrorCode } from './vmdk/vmdk-error.js';
export type { Adapter, BlockDevice, OpenPermissions, Subformat };

/** How an image is opened. */
export interface OpenOptions extends OpenPermissions {
  /** Whether the disk is only read: true unless told otherwise. */
  readonly readOnly?: boolean;
  /** Which disk of an OVA: its number from 1, or its name. */
  readonly disk?: string | undefined;
  /**
   * Whether programs that cannot use the image at the same time are refused, and we where they use
   * it: true unless told otherwise.
   */
  readonly lock?: boolean | undefined;
}

/** An open disk. It belongs to the thread that opened it, and is to be closed. */
export interface ImageDevice extends BlockDevice {
  /** What the user should know of the image, a sentence each. */
  readonly notices: readonly string[];
}

/** What a new image is like. */
export interface CreateOptions {
  /** Bytes, rounded up to a sector; the parent's size where there is none. */
  readonly size?: number | undefined;
  /** Path of the parent. */
  readonly backing?: string | undefined;
  /** monolithicSparse unless told otherwise. */
  readonly subformat?: Subformat;
  /** lsilogic unless told otherwise. */
  readonly adapter?: Adapter;
  /** What the parent and its own parents are allowed to be. */
  readonly permissions?: OpenPermissions;
  /** Whether a parent that another program writes to is refused: true unless told otherwise. */
  readonly lock?: boolean | undefined;
}

/**
 * Opens the disk in the image at `path`, read-only unless `options` say otherwise. What is written is
 * durable after `flush` or `close`, not before.
 *
 * @throws VmdkError that says what is wrong with the image, a parent or an extent; the system's error
 */
export function openImage(path: string, options: OpenOptions = {}): ImageDevice {
  const { lock = true, readOnly = true } = options;
  const { device, notices } = open(path, { ...options, lock, readOnly });
  return Object.assign(new GuardedDevice(device), { notices });
}

/**
 * Makes a new, empty image. None of its files may exist, and none is left where it fails.
 *
 * @returns the size of the disk in bytes
 * @throws RangeError for a size that is none; VmdkError when the parent cannot be opened; the
 *   system's error
 */
export function createImage(path: string, options: CreateOptions): number {
  const { backing, lock = true, size } = options;
  const isSize =
    size === undefined ? backing !== undefined : Number.isSafeInteger(size) && size > 0;
  if (!isSize) {
    throw new RangeError(`${path}: size is ${size ?? 'not given'} (a number of bytes expected)`);
  }
  return create(path, { ...options, backing, lock, size });
}

/**
 * The disks in the archive at `path`, by name; undefined where it is no archive.
 *
 * @throws VmdkError for a damaged archive; the system's error
 */
export function listDisks(path: string): readonly string[] | undefined {
  return list(path);
}
