/** Unmounting from outside: another process than the one that serves. */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemError } from '../errno.js';
import {
  detachLoopDevice,
  isAttached,
  loopDevicesOver,
  useOfLoopDevice,
  type LoopDevice,
} from '../os/loop-devices.js';
import { isDeadMount } from '../os/dead-mount.js';
import { mountHolders } from '../os/mount-holders.js';
import type { MountEntry } from '../os/mount-table.js';
import { unmount } from '../os/unmount.js';
import { connectControl } from './control-socket.js';
import { forgetLastWords, lastWords } from './last-words.js';
import { MountError } from './mount-error.js';
import { LOOK_MS } from './mountpoint.js';

/** How long a loop device that was detached may stay in use, milliseconds: udev looks at it. */
const DETACH_MS = 5000;
const POLL_MS = 20;

/** How long a mount may be busy without anybody to be seen who keeps it so, milliseconds. */
const LEAVING_MS = 1000;

/** How unmounting went. */
export interface Unmounted {
  /** Who still uses a mount that was detached; undefined where its image is closed. */
  readonly servedFor?: readonly string[];
  /** What the server said when it had closed the image. */
  readonly notice?: string;
}

/**
 * Unmounts `entry` and waits until its image is closed.
 *
 * @param lazy detach a busy mount, which is served until its last user is gone, and do not wait
 * @throws MountError where it is busy or may not be unmounted; EIO where the image was not closed
 */
export async function unmountEntry(entry: MountEntry, lazy: boolean): Promise<Unmounted> {
  const { mountpoint } = entry;
  const server = await connectControl(entry);
  // A server that listens may be busy with storage that hangs: its mount is not looked at.
  if (server === undefined && (await isDeadMount(mountpoint, LOOK_MS))) {
    await unmountOrThrow(entry, true);
    throw serverDied(entry, `${mountpoint} is unmounted`);
  }
  try {
    const servedFor = await unmountOrDetach(entry, lazy);
    if (servedFor !== undefined) return { servedFor };
    const report = await server?.closed;
    if (server !== undefined && report === undefined) throw serverDied(entry);
    if (report?.error !== undefined) throw systemError('EIO', report.error);
    return report?.notice === undefined ? {} : { notice: report.notice };
  } finally {
    server?.leave();
  }
}

/** Who uses a mount that had to be detached; undefined where it is unmounted. */
async function unmountOrDetach(
  entry: MountEntry,
  lazy: boolean,
): Promise<readonly string[] | undefined> {
  const { mountpoint } = entry;
  const holders = lazy ? mountHolders(mountpoint) : [];
  if (lazy && (await unmount(mountpoint, false)).outcome === 'busy') {
    await unmountOrThrow(entry, true);
    return holders;
  }
  await unmountOrThrow(entry, false);
  return undefined;
}

async function unmountOrThrow(entry: MountEntry, lazy: boolean): Promise<void> {
  const { mountpoint } = entry;
  const end = performance.now() + LEAVING_MS;
  for (;;) {
    const { message, outcome } = await unmount(mountpoint, lazy);
    if (outcome === 'unmounted') return;
    const holders = outcome === 'busy' ? mountHolders(mountpoint) : [];
    // A holder that nobody sees any more may be on its way out: the kernel lets go late of files.
    if (outcome === 'busy' && holders.length === 0 && performance.now() < end) {
      await sleep(POLL_MS);
      continue;
    }
    const by = holders.length === 0 ? '' : `; in use by ${holders.join(', ')}`;
    const isLoop = holders.some((holder) => holder.startsWith('/dev/loop'));
    const hint = isLoop ? ' (--detach-loops detaches loop devices that nobody has mounted)' : '';
    throw new MountError(`${mountpoint}: ${message}${by}${hint}`);
  }
}

function serverDied(entry: MountEntry, ...more: readonly string[]): Error {
  const words = takeLastWords(entry.userId, entry.mountpoint);
  const what = `${entry.source}: the server died before it had closed the image`;
  return systemError('EIO', [what, ...more].join('; ') + words);
}

/** What the last server on `mountpoint` said, as the end of a sentence; it is said once. */
export function takeLastWords(userId: number, mountpoint: string): string {
  const words = lastWords(userId, mountpoint);
  forgetLastWords(userId, mountpoint);
  if (words === undefined) return '';
  return words.length === 0 ? '; it was killed' : `; it said: ${words.join(' | ')}`;
}

/**
 * Detaches the loop devices over files of `mountpoint`.
 *
 * @returns those that are detached
 * @throws MountError where one of them is in use, none is detached then; or cannot be detached
 */
export async function detachLoops(mountpoint: string): Promise<readonly LoopDevice[]> {
  const devices = loopDevicesOver(mountpoint);
  const uses = devices.flatMap((device) => {
    const use = useOfLoopDevice(device);
    return use === undefined ? [] : [`${device.path} is ${use}`];
  });
  if (uses.length > 0) throw new MountError(`${mountpoint}: ${uses.join(', ')}; end that first`);
  for (const device of devices) {
    const complaint = await detachLoopDevice(device);
    if (complaint !== undefined) throw new MountError(complaint);
  }
  const end = performance.now() + DETACH_MS;
  for (const device of devices) {
    while (isAttached(device)) {
      if (performance.now() > end) {
        throw new MountError(
          `${device.path}: somebody has it open; it is detached when they close`,
        );
      }
      await sleep(POLL_MS);
    }
  }
  return devices;
}
