/**
 * The transport that speaks the kernel's protocol: mounts, answers INIT, and starts the threads that
 * serve requests. Each is blocked in a read of /dev/fuse most of the time and ends when the
 * connection does; one that ends before that has died, and the mount with it.
 */
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { threadEnded } from '../block/attach-image.js';
import { wholeFile, type OpenedImage } from '../block/open-image.js';
import { describeError } from '../errno.js';
import { DiskFileSystem } from '../fs/disk-file-system.js';
import { viewState } from '../fs/disk-state.js';
import { BUSY_WAIT_WORDS } from '../fuse/kernel/busy-wait.js';
import { connect } from '../fuse/kernel/connect.js';
import { ProtocolError, type Agreement } from '../fuse/kernel/negotiation.js';
import { WaitingOpens } from '../fuse/kernel/waiting-opens.js';
import { RequestCounters } from '../fuse/request-counters.js';
import type { TransportOptions } from '../fuse/transport.js';
import { FuseDevice } from '../os/fuse-device.js';
import { mountFuse, type FuseMount } from '../os/fuse-mount.js';
import { libc } from '../os/libc.js';
import type { Mount } from '../os/mount-identity.js';
import { raiseMountLimits } from '../os/mount-limits.js';
import { readMountTable } from '../os/mount-table.js';
import { unmount } from '../os/unmount.js';
import { detachAborted } from './aborted-mount.js';
import type { FuseWorkerData } from './fuse-worker.js';
import { debugLog, log } from './log.js';
import { findOwnMount, ImageStillUsed, END_MS, type MountedTree } from './own-mount.js';

const debug = debugLog('mount');

/**
 * What serving leaves behind is short-lived and little: without a limit each thread lets 16 MiB and
 * more of it pile up before it collects.
 */
const YOUNG_GENERATION_MIB = 2;

/** Why this transport cannot be used on this machine, where another one may. */
export class TransportUnavailable extends Error {
  override readonly name = 'TransportUnavailable';
}

export interface KernelTransportOptions extends TransportOptions {
  /** Shared state of the tree. */
  readonly state: SharedArrayBuffer;
  /** Request counters, with a slot for each thread and one for the main thread. */
  readonly counters: SharedArrayBuffer;
  readonly workers: number;
  readonly writebackCache: boolean;
  readonly passthrough: boolean;
  readonly debug: boolean;
}

/**
 * Mounts `image`; settles when all threads are about to serve.
 *
 * @throws TransportUnavailable; ImageStillUsed; an error that says why mounting failed; nothing is
 *   left mounted
 */
export async function mountKernel(
  image: OpenedImage,
  options: KernelTransportOptions,
): Promise<MountedTree> {
  try {
    libc();
  } catch (error) {
    throw new TransportUnavailable(describeError(error));
  }
  const before = readMountTable();
  const fuse = await mountFuse({
    mountpoint: options.mountpoint,
    fsname: options.fsname,
    subtype: 'vmdkfs',
    options: mountOptions(options),
  });
  const mount = findOwnMount(options.mountpoint, options.fsname, before);
  const threads: FuseThread[] = [];
  try {
    return await start(image, options, { fuse, mount, threads });
  } catch (error) {
    if (mount !== undefined) await unmount(mount, true);
    // The number of a descriptor that is closed is given to the next file, and threads that still
    // serve would read from it and write to it.
    if (!(await haveEnded(threads))) throw new ImageStillUsed(describeError(error), error);
    closeSync(fuse.fd);
    await fuse.release();
    if (error instanceof ProtocolError) throw new TransportUnavailable(describeError(error));
    throw error;
  }
}

/** What the kernel gets of the options: allow_root is ours to keep, and it mounts over anything. */
function mountOptions(options: TransportOptions): string[] {
  const passed = options.options.filter((name) => name !== 'nonempty');
  const kernel = passed.map((name) => (name === 'allow_root' ? 'allow_other' : name));
  return [...new Set([options.readOnly ? 'ro' : 'rw', ...kernel])];
}

/** What there is when the kernel has mounted. */
interface Connection {
  readonly fuse: FuseMount;
  /** Undefined where it was unmounted at once. */
  readonly mount: Mount | undefined;
  /** Gets every thread that is started. */
  readonly threads: FuseThread[];
}

async function start(
  image: OpenedImage,
  options: KernelTransportOptions,
  { fuse, mount, threads }: Connection,
): Promise<MountedTree> {
  const device = new FuseDevice(fuse.fd);
  const isPlain = options.readOnly && options.passthrough;
  const plain = isPlain ? wholeFile(image.description) : undefined;
  const agreement = connect(device, {
    writebackCache: options.writebackCache && !options.readOnly,
    passthrough: plain !== undefined,
  });
  if (agreement === undefined) return endedTree(fuse, mount);
  const isPassed = agreement.passthrough && plain !== undefined;
  const backingId = isPassed ? device.openBacking(plain.fd) : undefined;
  const isRaised = mount !== undefined && raiseMountLimits(mount.device);
  debugFacts(agreement, backingId, isRaised, fuse.autoUnmount);
  const data: Omit<FuseWorkerData, 'slot'> = {
    fd: fuse.fd,
    image: image.description,
    state: options.state,
    counters: options.counters,
    busyWait: newBusyWait(),
    writebackCache: agreement.writebackCache,
    onlyUser: options.options.includes('allow_root') ? process.getuid?.() : undefined,
    backingId,
    debug: options.debug,
  };
  const waiting = waitingOpens(device, image, { ...data, slot: options.workers });
  try {
    for (let slot = 0; slot < options.workers; slot++) {
      threads.push(new FuseThread({ ...data, slot }, waiting));
    }
    await Promise.all(threads.map((thread) => thread.ready));
  } catch (error) {
    waiting.stop();
    throw error;
  }
  const ended = Promise.all(threads.map((thread) => thread.ended)).then(() => {
    waiting.stop();
  });
  const idle = Promise.allSettled([ended, ...threads.map((thread) => thread.ended)]);
  const facts = { threads: options.workers, passthrough: isPassed };
  const release = (): Promise<void> => endConnection(fuse, mount);
  return { name: 'kernel', ...facts, mount, ended, idle, release };
}

/** The kernel has ended the connection and nobody serves it any more. */
async function endConnection(fuse: FuseMount, mount: Mount | undefined): Promise<void> {
  await detachAborted(mount);
  closeSync(fuse.fd);
  await fuse.release();
}

/** A mount that was unmounted before the kernel had asked for anything. */
function endedTree(fuse: FuseMount, mount: Mount | undefined): MountedTree {
  const ended = Promise.resolve();
  const release = (): Promise<void> => endConnection(fuse, mount);
  return { name: 'kernel', threads: 0, passthrough: false, mount, ended, idle: ended, release };
}

/** Whether none of `threads` serves any more; they are given a moment. */
function haveEnded(threads: readonly FuseThread[]): Promise<boolean> {
  const ended = Promise.allSettled(threads.map((thread) => thread.ended)).then(() => true);
  return Promise.race([ended, sleep(END_MS, false)]);
}

/** On a single processor, whoever looks for requests keeps others from sending them. */
function newBusyWait(): SharedArrayBuffer | undefined {
  return availableParallelism() > 1 ? new SharedArrayBuffer(4 * BUSY_WAIT_WORDS) : undefined;
}

/** OPENs that wait are answered by this thread, which the state of the tree tells all it needs. */
function waitingOpens(device: FuseDevice, image: OpenedImage, data: FuseWorkerData): WaitingOpens {
  const { backingId, onlyUser, slot, state, writebackCache } = data;
  const counters = new RequestCounters(data.counters, slot);
  const options = { state, writebackCache, hasUncachedFiles: true, neverWaits: true, log };
  const newFileSystem = (): DiskFileSystem => new DiskFileSystem(image.device, options);
  return new WaitingOpens(device, newFileSystem, { onlyUser, backingId, counters, log });
}

function debugFacts(
  agreement: Agreement,
  backingId: number | undefined,
  isRaised: boolean,
  autoUnmount: boolean,
): void {
  debug(
    'kernel protocol 7.%d, requests of up to %d bytes; writeback cache %s, passthrough %s, limits raised %s, auto_unmount %s',
    agreement.minor,
    agreement.maxWrite,
    agreement.writebackCache,
    backingId !== undefined,
    isRaised,
    autoUnmount,
  );
}

/** A serving thread. */
class FuseThread {
  /** Settles when the thread is about to serve; rejects where it ended before. */
  readonly ready: Promise<void>;
  /** Settles when the connection has ended; rejects where the thread ended by itself. */
  readonly ended: Promise<void>;

  constructor(data: FuseWorkerData, waiting: WaitingOpens) {
    const worker = new Worker(new URL('./fuse-worker.js', import.meta.url), {
      workerData: data,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    const { threadId } = worker;
    const free = (): void => {
      threadEnded(data.image, threadId);
      viewState(data.state).threadEnded(threadId);
    };
    this.ended = new Promise((resolve, reject) => {
      worker.once('error', (error) => {
        free();
        reject(new Error(`a serving thread died: ${describeError(error)}`, { cause: error }));
      });
      worker.once('exit', (code) => {
        free();
        if (code === 0) resolve();
        else reject(new Error(`a serving thread ended with code ${code}`));
      });
    });
    this.ready = new Promise((resolve, reject) => {
      worker.on('message', (message: Uint8Array | 'ready') => {
        if (message === 'ready') resolve();
        else waiting.add(message);
      });
      this.ended.then(() => {
        reject(new Error('the connection ended before it was served'));
      }, reject);
    });
  }
}
