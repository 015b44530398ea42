/** Exit codes; documented in README and `--help`. */
import { MountError, UsageError } from '../mount/mount-error.js';
import { VmdkError } from '../vmdk/vmdk-error.js';

export const ExitCode = {
  OK: 0,
  USAGE: 1,
  BAD_IMAGE: 2,
  CANNOT_MOUNT: 3,
  IO_ERROR: 4,
} as const;

/** The exit code for a failure of any kind. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return ExitCode.USAGE;
  if (error instanceof VmdkError) {
    // A good archive, of whose disks none was chosen.
    return error.code === 'VMDK_WHICH_DISK' ? ExitCode.USAGE : ExitCode.BAD_IMAGE;
  }
  if (error instanceof MountError) return ExitCode.CANNOT_MOUNT;
  return ExitCode.IO_ERROR;
}
