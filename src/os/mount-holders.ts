/** Who keeps a mount busy, found without touching the mount. */
import { readFileSync } from 'node:fs';
import { readdirSync, readlinkSync } from './host-fs.js';
import { basename } from 'node:path';
import { loopDevicesOver } from './loop-devices.js';
import { isOfMount } from './mount-table.js';

/**
 * Processes with a file or their folder under `mountpoint`, and loop devices over a file in it, as
 * words for a message: `bash (pid 123)`, `/dev/loop0`. Processes of others are not seen without root.
 */
export function mountHolders(mountpoint: string): string[] {
  const loops = loopDevicesOver(mountpoint).map((device) => device.path);
  return [...processHolders(mountpoint), ...loops];
}

function processHolders(mountpoint: string): string[] {
  const pids = list('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.flatMap((pid) => {
    const links = list(`/proc/${pid}/fd`).map((fd) => `fd/${fd}`);
    const holds = ['cwd', 'root', ...links].some((name) => {
      const target = attempt(() => readlinkSync(`/proc/${pid}/${name}`));
      return target !== undefined && isOfMount(target, mountpoint);
    });
    if (!holds) return [];
    return [`${nameOf(pid)} (pid ${pid})`];
  });
}

/** What Node calls its first thread: `MainThread` (24), `node-MainThread` (26). */
const FIRST_THREAD = /(?:^|-)MainThread$/;

/** What the kernel puts behind the path of a program that was replaced. */
const REPLACED = / \(deleted\)$/;

/** The name of its program; the kernel has that of its first thread. */
function nameOf(pid: string): string {
  const name = attempt(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? 'process';
  if (!FIRST_THREAD.test(name)) return name;
  const program = attempt(() => readlinkSync(`/proc/${pid}/exe`));
  return program === undefined ? name : basename(program.replace(REPLACED, ''));
}

function list(folder: string): string[] {
  return attempt(() => readdirSync(folder)) ?? [];
}

/** What `read` returns, or undefined where the process or device is gone or not ours to see. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
