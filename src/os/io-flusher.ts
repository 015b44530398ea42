/** Keeping memory reclaim out of threads on which reclaim may wait. */
import { libc } from './libc.js';

/** prctl(2), since Linux 5.6. */
const PR_SET_IO_FLUSHER = 57;

/**
 * Tells the kernel that this thread writes for a block device or file system: its allocations then
 * never wait for pages to be written that only it can write. Threads and programs that it starts
 * have it too. Needs CAP_SYS_RESOURCE.
 *
 * @returns whether the kernel agreed
 */
export function becomeIoFlusher(): boolean {
  const zeros = ['ulong', 0, 'ulong', 0, 'ulong', 0] as const;
  return libc().prctl(PR_SET_IO_FLUSHER, 'ulong', 1, ...zeros) === 0;
}
