/** Whether a FUSE mount still has a server. */
import { runProgram } from './program.js';

/** Whether a mount answers; the kernel lets only its own user look, and it may answer too late. */
export type Look = 'alive' | 'dead' | 'unknown';

/**
 * Looks whether `mountpoint` has lost its server. A program looks, because whoever looks at a mount
 * that hangs may hang with it, and a thread of ours that does would keep this process from ending.
 *
 * @returns 'unknown' where nothing is known within `milliseconds`
 */
export async function lookAtMount(mountpoint: string, milliseconds: number): Promise<Look> {
  const outcome = await runProgram('stat', ['--', mountpoint], milliseconds);
  if (outcome?.succeeded === true) return 'alive';
  const isDead = outcome?.message.includes('Transport endpoint is not connected') === true;
  return isDead ? 'dead' : 'unknown';
}

/** Whether `mountpoint` has lost its server, as far as that is known within `milliseconds`. */
export async function isDeadMount(mountpoint: string, milliseconds: number): Promise<boolean> {
  return (await lookAtMount(mountpoint, milliseconds)) === 'dead';
}
