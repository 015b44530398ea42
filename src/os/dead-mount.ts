/** Whether a FUSE mount still has a server. */
import { execFile } from 'node:child_process';

/**
 * Whether `mountpoint` has lost its server. A program looks, because whoever looks at a mount that
 * hangs may hang with it, and a thread of ours that does would keep this process from ending.
 *
 * @returns false also where nothing is known within `milliseconds`
 */
export function isDeadMount(mountpoint: string, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, LC_ALL: 'C' } };
    const child = execFile('stat', ['--', mountpoint], options, (_error, _stdout, stderr) => {
      clearTimeout(limit);
      resolve(stderr.includes('Transport endpoint is not connected'));
    });
    const limit = setTimeout(() => {
      child.kill('SIGKILL');
      resolve(false);
    }, milliseconds);
  });
}
