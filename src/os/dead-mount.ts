/** Whether a FUSE mount still has a server. */
import { runProgram } from './program.js';

/**
 * Whether `mountpoint` has lost its server. A program looks, because whoever looks at a mount that
 * hangs may hang with it, and a thread of ours that does would keep this process from ending.
 *
 * @returns false also where nothing is known within `milliseconds`
 */
export async function isDeadMount(mountpoint: string, milliseconds: number): Promise<boolean> {
  const outcome = await runProgram('stat', ['--', mountpoint], milliseconds);
  return outcome?.message.includes('Transport endpoint is not connected') === true;
}
