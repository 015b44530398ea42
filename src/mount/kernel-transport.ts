/**
 * The transport that speaks the kernel's protocol: mounts, answers INIT, and starts the threads that
 * serve requests. Each is blocked in a read of /dev/fuse most of the time and ends when the
 * connection does; one that ends before that has died, and the mount with it.
 */
import { closeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { threadEnded } from '../block/attach-image.js';
import { wholeFile, type OpenedImage } from '../block/open-image.js';
import { describeError } from '../errno.js';
import { DiskFileSystem } from '../fs/disk-file-system.js';
import { BUSY_WAIT_WORDS } from '../fuse/kernel/busy-wait.js';
import { connect } from '../fuse/kernel/connect.js';
import { ProtocolError, type Agreement } from '../fuse/kernel/negotiation.js';
import { WaitingOpens } from '../fuse/kernel/waiting-opens.js';
import { RequestCounters } from '../fuse/request-counters.js';
import type { Transport, TransportOptions } from '../fuse/transport.js';
import { FuseDevice } from '../os/fuse-device.js';
import { mountFuse, type FuseMount } from '../os/fuse-mount.js';
import { libc } from '../os/libc.js';
import { findMount } from '../os/mount-table.js';
import { raiseMountLimits } from '../os/mount-limits.js';
import { unmount } from '../os/unmount.js';
import { detachAborted } from './aborted-mount.js';
import type { FuseWorkerData } from './fuse-worker.js';
import { debugLog, log } from './log.js';

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
 * @throws TransportUnavailable; an error that says why mounting failed; nothing is left mounted
 */
export async function mountKernel(
  image: OpenedImage,
  options: KernelTransportOptions,
): Promise<Transport> {
  try {
    libc();
  } catch (error) {
    throw new TransportUnavailable(describeError(error));
  }
  const mount = await mountFuse({
    mountpoint: options.mountpoint,
    fsname: options.fsname,
    subtype: 'vmdkfs',
    options: mountOptions(options),
  });
  try {
    return await start(image, options, mount);
  } catch (error) {
    await unmount(options.mountpoint, true);
    closeSync(mount.fd);
    await mount.release();
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

async function start(
  image: OpenedImage,
  options: KernelTransportOptions,
  mount: FuseMount,
): Promise<Transport> {
  const device = new FuseDevice(mount.fd);
  const isPlain = options.readOnly && options.passthrough;
  const plain = isPlain ? wholeFile(image.description) : undefined;
  const agreement = connect(device, {
    writebackCache: options.writebackCache && !options.readOnly,
    passthrough: plain !== undefined,
  });
  const isPassed = agreement.passthrough && plain !== undefined;
  const backingId = isPassed ? device.openBacking(plain.fd) : undefined;
  const entry = findMount(options.mountpoint);
  const isRaised = entry !== undefined && raiseMountLimits(entry.device);
  debugFacts(agreement, backingId, isRaised, mount.autoUnmount);
  const data: Omit<FuseWorkerData, 'slot'> = {
    fd: mount.fd,
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
  const threads = Array.from(
    { length: options.workers },
    (_, slot) => new FuseThread({ ...data, slot }, waiting),
  );
  await Promise.all(threads.map((thread) => thread.ready));
  const ended = Promise.all(threads.map((thread) => thread.ended)).then(async () => {
    waiting.stop();
    await detachAborted(options.mountpoint, entry?.device);
    closeSync(mount.fd);
    await mount.release();
  });
  return { name: 'kernel', threads: options.workers, passthrough: isPassed, ended };
}

/** On a single processor, whoever looks for requests keeps others from sending them. */
function newBusyWait(): SharedArrayBuffer | undefined {
  return availableParallelism() > 1 ? new SharedArrayBuffer(4 * BUSY_WAIT_WORDS) : undefined;
}

/** OPENs that wait are answered by this thread, which the state of the tree tells all it needs. */
function waitingOpens(device: FuseDevice, image: OpenedImage, data: FuseWorkerData): WaitingOpens {
  const { backingId, onlyUser, slot, state, writebackCache } = data;
  const counters = new RequestCounters(data.counters, slot);
  const options = { state, writebackCache, hasUncachedFiles: true, log };
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
    this.ended = new Promise((resolve, reject) => {
      worker.once('error', (error) => {
        threadEnded(data.image, threadId);
        reject(new Error(`a serving thread died: ${describeError(error)}`, { cause: error }));
      });
      worker.once('exit', (code) => {
        threadEnded(data.image, threadId);
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
