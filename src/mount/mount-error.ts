/** Why a disk could not be mounted or unmounted, in words for the user. */
export class MountError extends Error {
  override readonly name = 'MountError';
}

/** A command line that asks for something that does not exist. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
