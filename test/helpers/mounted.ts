import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { run, vmdkfs } from './run.js';

/** An image that is mounted for the running test. */
export interface Mounted {
  readonly mountpoint: string;
  /** The path of `disk.raw`. */
  readonly disk: string;
  /** Process id of the server. */
  readonly pid: number;
  /** Unmounts and waits until the image is closed. */
  readonly unmount: () => Promise<void>;
}

/**
 * Mounts `image` in the background and unmounts it when the test has finished, whatever happened.
 * The mount is another process's, so this one may touch it.
 */
export async function mountImage(image: string, ...args: readonly string[]): Promise<Mounted> {
  const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-mount-'));
  const mountpoint = join(folder, 'mnt');
  mkdirSync(mountpoint);
  let isMounted = false;
  onTestFinished(async () => {
    if (isMounted) await run('fusermount3', ['-u', '-z', '--', mountpoint]);
    rmSync(folder, { recursive: true, force: true });
  });
  const { code, stderr } = await vmdkfs('mount', image, mountpoint, ...args);
  if (code !== 0) throw new Error(`mount: exit code ${code}: ${stderr}`);
  isMounted = true;
  return {
    mountpoint,
    disk: join(mountpoint, 'disk.raw'),
    pid: await serverOf(mountpoint),
    unmount: async () => {
      const outcome = await vmdkfs('unmount', mountpoint);
      if (outcome.code !== 0) throw new Error(`unmount: ${outcome.stderr}`);
      isMounted = false;
    },
  };
}

/** The process that serves `mountpoint`, by its title. */
async function serverOf(mountpoint: string): Promise<number> {
  const { stdout } = await run('pgrep', ['-f', `^vmdkfs .* ${mountpoint}$`]);
  const pid = Number(stdout.trim().split('\n')[0]);
  if (!Number.isInteger(pid) || pid === 0) throw new Error(`no server for ${mountpoint}`);
  return pid;
}

/** Whether anything is mounted at `mountpoint`, without touching it. */
export function isMountedAt(mountpoint: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8').includes(` ${mountpoint} fuse.vmdkfs `);
}
