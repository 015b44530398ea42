/** A thread that serves requests of the kernel; see `kernel-transport.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { attachImage, type ImageDescription } from '../block/attach-image.js';
import { DiskFileSystem } from '../fs/disk-file-system.js';
import { BusyWait } from '../fuse/kernel/busy-wait.js';
import { Exchange } from '../fuse/kernel/exchange.js';
import { serveConnection } from '../fuse/kernel/serve.js';
import { RequestCounters } from '../fuse/request-counters.js';
import { FuseDevice } from '../os/fuse-device.js';
import { becomeIoFlusher } from '../os/io-flusher.js';
import { enableDebug, log } from './log.js';

/** What such a thread is started with. */
export interface FuseWorkerData {
  /** Descriptor of /dev/fuse, after INIT. */
  readonly fd: number;
  readonly image: ImageDescription;
  readonly state: SharedArrayBuffer;
  /** Request counters, and which slot of them is this thread's. */
  readonly counters: SharedArrayBuffer;
  readonly slot: number;
  /** Memory for looking for requests; undefined where that is left out. */
  readonly busyWait: SharedArrayBuffer | undefined;
  readonly writebackCache: boolean;
  readonly onlyUser: number | undefined;
  readonly backingId: number | undefined;
  readonly debug: boolean;
}

const data = workerData as FuseWorkerData;
if (data.debug) enableDebug();
const { onlyUser, backingId } = data;
const hasUncachedFiles = true;
const fileSystem = new DiskFileSystem(attachImage(data.image), { ...data, hasUncachedFiles, log });
const postpone = (request: Uint8Array): void => {
  parentPort?.postMessage(request);
};
const counters = new RequestCounters(data.counters, data.slot);
const exchange = new Exchange(fileSystem, { onlyUser, backingId, counters, postpone, log });
const device = new FuseDevice(data.fd);
const busyWait =
  data.busyWait && new BusyWait(() => device.hasRequest(), new Int32Array(data.busyWait));
becomeIoFlusher();
// From here on this thread neither loads nor opens anything, and hears no messages; it may send some.
parentPort?.postMessage('ready');
serveConnection(device, exchange, busyWait);
