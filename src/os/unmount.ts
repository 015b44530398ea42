/** Unmounting through the system's own programs. */
import { placeOf, type Mount } from './mount-identity.js';
import { runProgram } from './program.js';

/** How an attempt to unmount ended; `message` is why it did not succeed. */
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

const UNMOUNTED: UnmountResult = { outcome: 'unmounted', message: '' };

/**
 * Unmounts `mount`, and nothing that is mounted in its place or over it: the programs know paths
 * only, so it is looked for right before each is started. One that is gone is unmounted.
 *
 * @param lazy detach it now and let the kernel end it when its last user is gone
 */
export async function unmount(mount: Mount, lazy: boolean): Promise<UnmountResult> {
  for (const program of PROGRAMS) {
    const place = placeOf(mount);
    if (place.state === 'gone') return UNMOUNTED;
    if (place.state === 'covered') {
      const { source, type } = place.by;
      const message = `${source} (${type}) is mounted over it; unmount that first`;
      return { outcome: 'failed', message };
    }
    const args = [...(lazy ? program.lazy : program.plain), '--', place.entry.mountpoint];
    const result = await runProgram(program.name, args);
    if (result === undefined) continue;
    if (result.succeeded || placeOf(mount).state === 'gone') return UNMOUNTED;
    const outcome = /busy/i.test(result.message) ? 'busy' : 'failed';
    return { outcome, message: result.message };
  }
  const message = 'none of fusermount3, fusermount and umount is installed; install fuse3';
  return { outcome: 'failed', message };
}
