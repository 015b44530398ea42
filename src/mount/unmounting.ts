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
import { lookAtMount, type Look } from '../os/dead-mount.js';
import { mountHolders } from '../os/mount-holders.js';
import { identify, placeOf, type Mount } from '../os/mount-identity.js';
import type { MountEntry } from '../os/mount-table.js';
import { unmount } from '../os/unmount.js';
import { connectControl, type NotWaiting, type Waiting } from './control-socket.js';
import { takeLastLines } from './last-words.js';
import { MountError } from './mount-error.js';
import { LISTEN_MS, LOOK_MS } from './mountpoint.js';

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
 * @throws MountError where it is busy or may not be unmounted; EIO where the image was not closed,
 *   or nobody can tell whether it is
 */
export async function unmountEntry(entry: MountEntry, lazy: boolean): Promise<Unmounted> {
  const mount = identify(entry);
  // A server that listens may be busy with storage that hangs: its mount is not looked at.
  const server = await findServer(mount);
  if ('failure' in server) {
    return await unmountWithoutServer(mount, server, lazy);
  }
  try {
    const servedFor = await unmountOrDetach(mount, lazy);
    if (servedFor !== undefined) return { servedFor };
    const report = await server.closed;
    if (report === undefined) throw serverDied(mount, server.pid);
    if (report.error !== undefined) throw systemError('EIO', report.error);
    return report.notice === undefined ? {} : { notice: report.notice };
  } finally {
    server.leave();
  }
}

/** The server of a mount, or why there is none; one that has just mounted is waited for. */
async function findServer(mount: Mount): Promise<Waiting | NotWaiting> {
  const end = performance.now() + LISTEN_MS;
  let look: Look | undefined;
  for (;;) {
    const server = await connectControl(mount);
    if (!('failure' in server)) return server;
    if (server.failure !== 'absent' && server.failure !== 'refused') return server;
    look ??= await lookAtMount(mount.mountpoint, LOOK_MS);
    // It may have died before it listened.
    if (look === 'dead') return { failure: 'refused', pid: server.pid };
    if (performance.now() > end || placeOf(mount).state !== 'on top') {
      // What refuses is left of an earlier mount with the same device number.
      return look === 'alive' ? { failure: 'absent', pid: undefined } : server;
    }
    await sleep(POLL_MS);
  }
}

/** Why the server of a mount that is unmounted cannot say whether it has closed the image. */
const WITHOUT_WORD: Readonly<Record<Exclude<NotWaiting['failure'], 'refused'>, string>> = {
  absent: 'its server has no control socket',
  forbidden: 'its server does not answer this user',
  silent: 'its server does not answer',
};

/**
 * Unmounts where nobody says that the image is closed.
 *
 * @throws always, but where a busy mount was detached
 */
async function unmountWithoutServer(
  mount: Mount,
  { failure, pid }: NotWaiting,
  lazy: boolean,
): Promise<Unmounted> {
  const done = `${mount.mountpoint} is unmounted`;
  if (failure === 'refused') {
    await unmountOrThrow(mount, true);
    throw serverDied(mount, pid, done);
  }
  const servedFor = await unmountOrDetach(mount, lazy);
  if (servedFor !== undefined) return { servedFor };
  const reason = `${done}, but ${WITHOUT_WORD[failure]}`;
  throw systemError(
    'EIO',
    `${mount.source}: ${reason}: the image may still be open; vmdkfs info shows whether it is in use`,
  );
}

/** Who uses a mount that had to be detached; undefined where it is unmounted. */
async function unmountOrDetach(
  mount: Mount,
  lazy: boolean,
): Promise<readonly string[] | undefined> {
  const holders = lazy ? mountHolders(mount.mountpoint) : [];
  if (lazy && (await unmount(mount, false)).outcome === 'busy') {
    await unmountOrThrow(mount, true);
    return holders;
  }
  await unmountOrThrow(mount, false);
  return undefined;
}

async function unmountOrThrow(mount: Mount, lazy: boolean): Promise<void> {
  const { mountpoint } = mount;
  const end = performance.now() + LEAVING_MS;
  for (;;) {
    const { message, outcome } = await unmount(mount, lazy);
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

function serverDied(mount: Mount, pid: number | undefined, ...more: readonly string[]): Error {
  const words = takeLastWords(mount.userId, mount.mountpoint, pid);
  const what = `${mount.source}: the server died before it had closed the image`;
  return systemError('EIO', [what, ...more].join('; ') + words);
}

/**
 * What the server with the process `pid`, or the last one on `mountpoint` that is gone, has said, as
 * the end of a sentence; it is said once.
 */
export function takeLastWords(userId: number, mountpoint: string, pid?: number): string {
  const words = takeLastLines(userId, mountpoint, pid);
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
