/**
 * The package as a library: disks in VMDK images as devices of bytes. All calls are synchronous.
 * What is wrong with an image is a `VmdkError`, what the system refuses is Node's own error.
 */
import type { BlockDevice } from './block/block-device.js';
import { createImage as create } from './block/create-image.js';
import { GuardedDevice } from './block/guarded-device.js';
import { listDisks as list, openImage as open } from './block/open-image.js';
import { explainedError } from './image/recognise/explained-error.js';
import { ADAPTER_DEFAULT, ADAPTERS, type Adapter } from './vmdk/disk-geometry.js';
import { SUBFORMAT_DEFAULT, SUBFORMATS, type Subformat } from './vmdk/subformat.js';

export { VmdkError, type VmdkErrorCode } from './vmdk/vmdk-error.js';
export type { Adapter, BlockDevice, Subformat };

/** What an image and its parents are allowed to be; nothing of it unless told otherwise. */
export interface OpenPermissions {
  /** Whether extents and parents may lie outside the folder of the image. */
  readonly allowOutside?: boolean | undefined;
  /** Whether an extent may be a block device. */
  readonly allowDevices?: boolean | undefined;
  /** Whether a parent may be used that was modified after its child was made. */
  readonly force?: boolean | undefined;
}

/** How an image is opened. */
export interface OpenOptions extends OpenPermissions {
  /** Whether the disk is only read: true unless told otherwise. */
  readonly readOnly?: boolean | undefined;
  /** Whether change tracking, which writing would falsify, may be ended by the first write. */
  readonly dropChangeTracking?: boolean | undefined;
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
  readonly subformat?: Subformat | undefined;
  /** lsilogic unless told otherwise. */
  readonly adapter?: Adapter | undefined;
  /** What the parent and its own parents are allowed to be. */
  readonly permissions?: OpenPermissions | undefined;
  /** Whether a parent that another program writes to is refused: true unless told otherwise. */
  readonly lock?: boolean | undefined;
}

/** What an option is. */
type Kind = 'boolean' | 'number' | 'string' | 'object';

/** Every option of `T`. */
type Kinds<T> = Readonly<Record<keyof T, Kind>>;

const PERMISSIONS: Kinds<OpenPermissions> = {
  allowOutside: 'boolean',
  allowDevices: 'boolean',
  force: 'boolean',
};

const OPEN_OPTIONS: Kinds<OpenOptions> = {
  readOnly: 'boolean',
  disk: 'string',
  lock: 'boolean',
  dropChangeTracking: 'boolean',
  ...PERMISSIONS,
};

const CREATE_OPTIONS: Kinds<CreateOptions> = {
  size: 'number',
  backing: 'string',
  subformat: 'string',
  adapter: 'string',
  permissions: 'object',
  lock: 'boolean',
};

/**
 * Opens the disk in the image at `path`, read-only unless `options` say otherwise. What is written is
 * durable after `flush` or `close`, not before.
 *
 * @throws TypeError for an option that there is not; VmdkError that says what is wrong with the image,
 *   a parent or an extent; the system's error
 */
export function openImage(path: string, options: OpenOptions = {}): ImageDevice {
  assertOptions('openImage', options, OPEN_OPTIONS);
  const { disk, dropChangeTracking = false, lock = true, readOnly = true } = options;
  const permissions = { ...permissionsOf(options), dropChangeTracking };
  const { device, notices } = explained(() => open(path, { ...permissions, disk, lock, readOnly }));
  return Object.assign(new GuardedDevice(device), { notices });
}

/**
 * Makes a new, empty image. None of its files may exist, and none is left where it fails.
 *
 * @returns the size of the disk in bytes
 * @throws TypeError for an option that there is not; RangeError for a size, subformat or adapter that
 *   is none; VmdkError when the parent cannot be opened; the system's error
 */
export function createImage(path: string, options: CreateOptions): number {
  assertOptions('createImage', options, CREATE_OPTIONS);
  const { adapter = ADAPTER_DEFAULT, backing, lock = true, permissions = {}, size } = options;
  assertOptions('createImage: permissions', permissions, PERMISSIONS);
  const isSize =
    size === undefined ? backing !== undefined : Number.isSafeInteger(size) && size > 0;
  if (!isSize) {
    throw new RangeError(`${path}: size is ${size ?? 'not given'} (a number of bytes expected)`);
  }
  const { subformat = SUBFORMAT_DEFAULT } = options;
  assertOneOf(path, 'subformat', subformat, SUBFORMATS);
  assertOneOf(path, 'adapter', adapter, ADAPTERS);
  const allowed = permissionsOf(permissions);
  return explained(() =>
    create(path, { backing, size, subformat, adapter, permissions: allowed, lock }),
  );
}

/**
 * The disks in the archive at `path`, by name; undefined where it is no archive.
 *
 * @throws VmdkError for a damaged archive; the system's error
 */
export function listDisks(path: string): readonly string[] | undefined {
  return list(path);
}

/** Does `work`; what it says of a file that is no image says what that is. */
function explained<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw explainedError(error);
  }
}

/** Nothing else: what is not an option of ours is not passed on either. */
function permissionsOf({ allowDevices, allowOutside, force }: OpenPermissions) {
  return {
    allowDevices: allowDevices ?? false,
    allowOutside: allowOutside ?? false,
    force: force ?? false,
  };
}

/** An option that does nothing, as one that is misspelt, would be taken for one that is heeded. */
function assertOptions<T extends object>(what: string, options: T, kinds: Kinds<T>): void {
  const known = kinds as Readonly<Record<string, Kind>>;
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (kind === undefined) {
      const names = Object.keys(known).join(', ');
      throw new TypeError(`${what}: ${JSON.stringify(name)} is no option (${names} expected)`);
    }
    if (value !== undefined && (typeof value !== kind || value === null)) {
      const found = value === null ? 'null' : `a ${typeof value}`;
      throw new TypeError(`${what}: ${name} is ${found} (a ${kind} expected)`);
    }
  }
}

function assertOneOf(path: string, what: string, found: string, known: readonly string[]): void {
  if (known.includes(found)) return;
  throw new RangeError(
    `${path}: ${what} is ${JSON.stringify(found)} (${known.join(', ')} expected)`,
  );
}
