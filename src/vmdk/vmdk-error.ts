import { constants } from 'node:os';

/** What can be wrong with an image; documented in README, one hostile image per code in the tests. */
export type VmdkErrorCode =
  | 'VMDK_NOT_A_FILE'
  | 'VMDK_NOT_VMDK'
  | 'VMDK_INCOMPLETE'
  | 'VMDK_ENCRYPTED'
  | 'VMDK_UNSUPPORTED'
  | 'VMDK_READ_ONLY'
  | 'VMDK_BAD_VERSION'
  | 'VMDK_BAD_FLAGS'
  | 'VMDK_BAD_NEWLINES'
  | 'VMDK_BAD_CAPACITY'
  | 'VMDK_BAD_GRAIN_SIZE'
  | 'VMDK_BAD_TABLE_SIZE'
  | 'VMDK_BAD_DESCRIPTOR'
  | 'VMDK_BAD_EXTENT_LINE'
  | 'VMDK_BAD_DIRECTORY'
  | 'VMDK_BAD_TABLE'
  | 'VMDK_BAD_GRAIN'
  | 'VMDK_TRUNCATED'
  | 'VMDK_NO_DESCRIPTOR'
  | 'VMDK_NO_EXTENTS'
  | 'VMDK_MISSING_FILE'
  | 'VMDK_OUTSIDE_FOLDER'
  | 'VMDK_FILE_USED_TWICE'
  | 'VMDK_CID_MISMATCH'
  | 'VMDK_SAME_UUID'
  | 'VMDK_MERGE_CUT_OFF'
  | 'VMDK_NO_PARENT'
  | 'VMDK_CHAIN_LOOP'
  | 'VMDK_CHAIN_TOO_LONG'
  | 'VMDK_WRONG_OVERLAY'
  | 'VMDK_IN_USE'
  | 'VMDK_NO_LOCKS'
  | 'VMDK_BAD_ARCHIVE'
  | 'VMDK_NO_DISK'
  | 'VMDK_WHICH_DISK';

/**
 * What is wrong with an image: which file, and what was found against what was expected. `errno`
 * is the negative errno that a reader of the mounted disk sees.
 */
export class VmdkError extends Error {
  override readonly name = 'VmdkError';
  readonly errno = -constants.errno.EIO;
  readonly code: VmdkErrorCode;
  readonly file: string;
  /** The message without the file in front of it. */
  readonly reason: string;

  constructor(code: VmdkErrorCode, file: string, reason: string, options?: ErrorOptions) {
    super(`${file}: ${reason}`, options);
    this.code = code;
    this.file = file;
    this.reason = reason;
  }
}
