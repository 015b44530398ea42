/** Exit codes; documented in README and `--help`. */
import { MountError, UsageError } from '../mount/mount-error.js';
import { VmdkError, type VmdkErrorCode } from '../vmdk/vmdk-error.js';

export const ExitCode = {
  OK: 0,
  USAGE: 1,
  BAD_IMAGE: 2,
  CANNOT_MOUNT: 3,
  IO_ERROR: 4,
  PROBLEMS: 5,
  IN_USE: 6,
} as const;

/** The exit codes of images that are not bad. */
const CODES: Partial<Record<VmdkErrorCode, number>> = {
  // A good archive, of whose disks none was chosen.
  VMDK_WHICH_DISK: ExitCode.USAGE,
  // A good image, to which the command does not apply.
  VMDK_NO_PARENT: ExitCode.USAGE,
  VMDK_IN_USE: ExitCode.IN_USE,
  VMDK_NO_LOCKS: ExitCode.IO_ERROR,
};

/** The exit code for a failure of any kind. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return ExitCode.USAGE;
  if (error instanceof VmdkError) {
    return CODES[error.code] ?? ExitCode.BAD_IMAGE;
  }
  if (error instanceof MountError) return ExitCode.CANNOT_MOUNT;
  return ExitCode.IO_ERROR;
}
