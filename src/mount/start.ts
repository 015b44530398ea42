/**
 * From an opened image to a mount that answers, or back. Whoever finds the mount may use it before
 * this process knows that it answers, so a signal lets a start come to its end first, and ends what
 * is a mount like any other then. So it does where somebody has opened the disk. A start that hangs
 * on storage before that, and one that fails, take their mount back, and wait a moment for what still
 * serves it: that keeps the image open until the process has ended.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { OpenedImage } from '../block/open-image.js';
import { describeError } from '../errno.js';
import { newRequestCounters, readRequestCounters } from '../fuse/request-counters.js';
import { placeOf } from '../os/mount-identity.js';
import { unmount } from '../os/unmount.js';
import { ControlServer, type Answers } from './control-socket.js';
import { debugLog, log } from './log.js';
import { MountError } from './mount-error.js';
import type { MountRequest } from './mount-request.js';
import { statusReader } from './mount-status.js';
import { assertAnswers, mountTree } from './mount-tree.js';
import { END_MS, ImageStillUsed, type MountedTree } from './own-mount.js';
import type { EndingSignal, Signals } from './signals.js';

const debug = debugLog('mount');

/** How long a start may go on after a signal, milliseconds. */
const SIGNALLED_MS = 2000;

/** A mount that is there. */
export interface Started {
  readonly tree: MountedTree;
  readonly control: ControlServer | undefined;
  /** What the user should know. */
  readonly notices: readonly string[];
}

/** A signal has ended a start that hung. */
export class StartInterrupted extends Error {
  override readonly name = 'StartInterrupted';
  readonly signal: EndingSignal;

  constructor(signal: EndingSignal) {
    super(`ended by ${signal}`);
    this.signal = signal;
  }
}

/** How a start has failed. */
export interface FailedStart {
  readonly cause: unknown;
  /** Whether something still uses the image. */
  readonly isImageUsed: boolean;
}

/**
 * Mounts `image` on `mountpoint` and looks whether the mount answers. A mount that somebody has
 * unmounted meanwhile is a mount that has ended, not one that has failed.
 *
 * @param allocated one Float64: bytes of the image that take up space
 */
export async function startMount(
  image: OpenedImage,
  mountpoint: string,
  request: MountRequest,
  allocated: SharedArrayBuffer,
  { first }: Signals,
): Promise<Started | FailedStart> {
  const counters = newRequestCounters(request.workers + 1);
  const interrupted = first.then(async (signal) => {
    await sleep(SIGNALLED_MS);
    throw new StartInterrupted(signal);
  });
  // Nobody may be waiting for these when they reject.
  interrupted.catch(() => undefined);
  const mounting = mountTree(image, mountpoint, request, counters);
  let control: ControlServer | undefined;
  try {
    const tree = await Promise.race([mounting, interrupted]);
    tree.ended.catch(() => undefined);
    const status = statusReader(image, request, tree, { counters, allocated });
    control = await listen(tree, { status });
    const ending = interrupted.catch((error: unknown) => {
      // Who has opened the disk has an answer, and what they have written is not to be lost.
      if (readRequestCounters(counters).open.requests === 0) throw error;
    });
    await Promise.race([assertServed(tree, mountpoint, image.device.size), ending]);
    debug('%s is mounted on %s over %s', request.image, mountpoint, tree.name);
    return { tree, control, notices: noticesOf(tree, mountpoint) };
  } catch (cause) {
    const isImageUsed = !(await takeBack(mounting)) || cause instanceof ImageStillUsed;
    await control?.report({ error: describeError(cause) });
    return { cause, isImageUsed };
  }
}

/** @throws MountError where the mount is there and does not answer as it should; a thread's error */
async function assertServed(tree: MountedTree, mountpoint: string, size: number): Promise<void> {
  const look = assertAnswers(mountpoint, size).catch((error: unknown) => {
    if (isThere(tree)) throw new MountError(describeError(error), { cause: error });
  });
  await Promise.race([look, tree.ended]);
}

/** Whether who comes to the mountpoint finds this mount. */
function isThere({ mount }: MountedTree): boolean {
  return mount !== undefined && placeOf(mount).state === 'on top';
}

function noticesOf(tree: MountedTree, mountpoint: string): string[] {
  if (isThere(tree)) return [];
  return [`${mountpoint}: somebody has unmounted it already, or mounted something over it`];
}

/** Whether nothing uses the image any more. */
async function takeBack(mounting: Promise<MountedTree>): Promise<boolean> {
  // One that is still being made comes to its end first.
  const tree = await Promise.race([
    mounting.catch(() => undefined),
    sleep(END_MS, 'late' as const),
  ]);
  if (tree === undefined) return true;
  if (tree === 'late') return false;
  if (tree.mount !== undefined) await Promise.race([unmount(tree.mount, true), sleep(END_MS)]);
  const isIdle = await Promise.race([tree.idle.then(() => true), sleep(END_MS, false)]);
  if (isIdle) await tree.release();
  return isIdle;
}

async function listen(
  { mount }: MountedTree,
  answers: Answers,
): Promise<ControlServer | undefined> {
  if (mount === undefined) return undefined;
  try {
    return await ControlServer.listen(mount.device, answers);
  } catch (error) {
    const reason = describeError(error);
    log(
      `${reason}; vmdkfs unmount cannot tell when the image is closed, and nobody can ask for counters`,
    );
    return undefined;
  }
}
