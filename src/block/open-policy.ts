import type { OpenedFile } from './opened-files.js';

/** What the user allows when an image is opened. */
export interface OpenPolicy {
  readonly readOnly: boolean;
  /** Whether extents and parents may lie outside the folder of the image. */
  readonly allowOutside: boolean;
  /** Whether an extent may be a block device. */
  readonly allowDevices: boolean;
  /** Whether a parent may be used that was modified after its child was made. */
  readonly force: boolean;
  /** Whether change tracking, which writing would falsify, may be ended by the first write. */
  readonly dropChangeTracking: boolean;
  /**
   * Where the file that is opened is taken as a plain disk without a descriptor: what is said of it.
   *
   * @throws VmdkError where it is not to be taken so
   */
  readonly plain?: ((file: OpenedFile, readOnly: boolean) => string) | undefined;
  /** Whether the image is opened to merge it into its parent, which may have been begun before. */
  readonly isMerge?: boolean;
  /** The CID that the image takes with its first write; a random one unless told otherwise. */
  readonly newCid?: number | undefined;
  /** The UUID that the modification of the image gets with its first write; the same. */
  readonly newModification?: string | undefined;
}

/** The options of a policy; what is not said is not allowed, and the image is opened for writing. */
export type OpenPermissions = Partial<OpenPolicy>;

/** The policy that `permissions` make. */
export function policyOf(permissions: OpenPermissions): OpenPolicy {
  return {
    readOnly: permissions.readOnly ?? false,
    allowOutside: permissions.allowOutside ?? false,
    allowDevices: permissions.allowDevices ?? false,
    force: permissions.force ?? false,
    dropChangeTracking: permissions.dropChangeTracking ?? false,
    plain: permissions.plain,
  };
}
