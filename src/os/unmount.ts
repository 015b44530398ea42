/** Unmounting through the system's own programs. */
import { findMount } from './mount-table.js';
import { runProgram } from './program.js';

/** How an attempt to unmount ended; `message` is what the program said. */
export interface UnmountResult {
  readonly outcome: 'unmounted' | 'busy' | 'failed';
  readonly message: string;
}

/** Programs that unmount a FUSE mount, the preferred first; the last one needs root. */
const PROGRAMS = [
  { name: 'fusermount3', plain: ['-u'], lazy: ['-u', '-z'] },
  { name: 'fusermount', plain: ['-u'], lazy: ['-u', '-z'] },
  { name: 'umount', plain: [], lazy: ['-l'] },
] as const;

/**
 * Unmounts `mountpoint`, an absolute path without links.
 *
 * @param lazy detach it now and let the kernel end it when its last user is gone
 */
export async function unmount(mountpoint: string, lazy: boolean): Promise<UnmountResult> {
  for (const program of PROGRAMS) {
    const args = [...(lazy ? program.lazy : program.plain), '--', mountpoint];
    const result = await runProgram(program.name, args);
    if (result === undefined) continue;
    if (result.succeeded) return { outcome: 'unmounted', message: '' };
    if (findMount(mountpoint) === undefined) return { outcome: 'unmounted', message: '' };
    const outcome = /busy/i.test(result.message) ? 'busy' : 'failed';
    return { outcome, message: result.message };
  }
  const message = 'none of fusermount3, fusermount and umount is installed; install fuse3';
  return { outcome: 'failed', message };
}
