/**
 * A mounted disk from start to end:
 *
 *   check the mountpoint, open the image, mount, see that the mount answers -> ready
 *   ... serve until the kernel ends the connection (unmount, or a signal that unmounts) ...
 *   stop the flush thread, close the image, report to whoever waits
 *
 * A signal unmounts. A busy mount is detached instead and served until its last user is gone:
 * leaving at once would lose what they write. A second signal flushes what was received and leaves.
 */
import { describeError } from '../errno.js';
import { statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { openImage, type OpenedImage } from '../block/open-image.js';
import { DiskFileSystem } from '../fs/disk-file-system.js';
import { mountLibfuse } from '../fuse/libfuse/libfuse-transport.js';
import type { Transport } from '../fuse/transport.js';
import { findMount } from '../os/mount-table.js';
import { mountHolders } from '../os/mount-holders.js';
import { unmount } from '../os/unmount.js';
import { ControlServer } from './control-socket.js';
import { FlushTimer } from './flush-timer.js';
import { debugLog, enableDebug, log } from './log.js';
import { MountError } from './mount-error.js';
import type { TransportName } from './mount-options.js';
import { checkFuseDevice, checkMountpoint } from './mountpoint.js';

/** What to mount where; absolute paths. */
export interface MountRequest {
  readonly image: string;
  readonly mountpoint: string;
  readonly readOnly: boolean;
  readonly transport: TransportName;
  readonly debug: boolean;
  /** Options for the transport and the kernel. */
  readonly passed: readonly string[];
}

const debug = debugLog('mount');

/** Exit code after a second signal: the disk was not unmounted cleanly. */
const FORCED_EXIT = 3;

/**
 * Mounts and serves until the disk is unmounted and its image closed.
 *
 * @param ready called once, when the mount answers
 * @throws MountError, VmdkError or the system's error, with nothing left mounted
 */
export async function serve(
  request: MountRequest,
  ready: (notice: string | undefined) => void,
): Promise<void> {
  if (request.debug) enableDebug();
  checkFuseDevice();
  const { passed } = request;
  const mountpoint = checkMountpoint(
    request.mountpoint,
    request.image,
    passed.includes('nonempty'),
  );
  const image = openImage(resolve(request.image), { readOnly: request.readOnly });
  process.chdir('/');
  let session: Session;
  try {
    session = await Session.start(image, mountpoint, request);
  } catch (error) {
    image.device.close();
    throw error;
  }
  const isForced = image.device.readOnly && !request.readOnly;
  // No thread of ours runs yet: in the background the caller's terminal is replaced in there.
  ready(isForced ? `${request.image}: all its extents are RDONLY, mounted read-only` : undefined);
  await session.run();
}

class Session {
  readonly #image: OpenedImage;
  readonly #mountpoint: string;
  readonly #transport: Transport;
  readonly #control: ControlServer | undefined;
  #timer: FlushTimer | undefined;
  #isEnding = false;

  private constructor(
    image: OpenedImage,
    mountpoint: string,
    transport: Transport,
    control: ControlServer | undefined,
  ) {
    this.#image = image;
    this.#mountpoint = mountpoint;
    this.#transport = transport;
    this.#control = control;
  }

  static async start(
    image: OpenedImage,
    mountpoint: string,
    request: MountRequest,
  ): Promise<Session> {
    const transport = await mountTree(image, mountpoint, request);
    try {
      await assertAnswers(mountpoint, image.device.size);
    } catch (error) {
      await unmount(mountpoint, true);
      throw error;
    }
    const session = new Session(image, mountpoint, transport, await listen(mountpoint));
    session.#watch();
    debug('%s is mounted on %s over %s', request.image, mountpoint, transport.name);
    return session;
  }

  /** Flushes every second, waits for the end of the mount, and closes the image. */
  async run(): Promise<void> {
    if (!this.#image.device.readOnly) this.#startTimer();
    await this.#transport.ended;
    this.#isEnding = true;
    try {
      await this.#timer?.stop();
    } finally {
      await this.#close();
    }
  }

  async #close(): Promise<void> {
    try {
      this.#image.device.close();
      await this.#control?.report({});
    } catch (error) {
      await this.#control?.report({ error: describeError(error) });
      throw error;
    }
    debug('closed');
  }

  #watch(): void {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        this.#signalled(signal);
      });
    }
    // A write past RLIMIT_FSIZE is to fail with EFBIG, not to kill the server.
    process.on('SIGXFSZ', () => undefined);
  }

  #startTimer(): void {
    this.#timer = new FlushTimer(this.#image.description);
    this.#timer.ended.catch((error: unknown) => {
      log(`${describeError(error)}; unmounting`);
      void this.#leave();
    });
  }

  #signalled(signal: string): void {
    if (!this.#isEnding) {
      this.#isEnding = true;
      debug('%s', signal);
      void this.#leave();
      return;
    }
    log(`${signal} again: leaving at once; what users of the mount still write is lost`);
    try {
      this.#image.device.flush();
    } catch (error) {
      log(`flush: ${describeError(error)}`);
    }
    process.exit(FORCED_EXIT);
  }

  async #leave(): Promise<void> {
    const first = await unmount(this.#mountpoint, false);
    if (first.outcome === 'unmounted') return;
    const holders = mountHolders(this.#mountpoint).join(', ');
    log(
      `${this.#mountpoint}: ${first.message}; detached, and served until its last user is gone${holders === '' ? '' : `: ${holders}`}`,
    );
    const second = await unmount(this.#mountpoint, true);
    if (second.outcome !== 'unmounted') log(`${this.#mountpoint}: ${second.message}`);
  }
}

async function mountTree(
  image: OpenedImage,
  mountpoint: string,
  request: MountRequest,
): Promise<Transport> {
  const fileSystem = new DiskFileSystem(image.device, {
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    mtime: statSync(request.image).mtimeMs,
    log,
  });
  const options = {
    mountpoint,
    fsname: request.image,
    readOnly: image.device.readOnly,
    options: request.passed,
  };
  try {
    return await mountLibfuse(fileSystem, options);
  } catch (error) {
    // An option that libfuse refuses fails after the kernel has mounted.
    if (findMount(mountpoint)?.type === 'fuse.vmdkfs') await unmount(mountpoint, true);
    const reason = describeError(error);
    throw new MountError(`${mountpoint}: could not be mounted: ${reason}`, { cause: error });
  }
}

/** Asks the mount for its file, from another thread: this one has to answer. */
async function assertAnswers(mountpoint: string, size: number): Promise<void> {
  const file = join(mountpoint, 'disk.raw');
  const stats = await stat(file);
  if (stats.size === size) return;
  throw new MountError(`${file}: shows ${stats.size} bytes instead of ${size}`);
}

async function listen(mountpoint: string): Promise<ControlServer | undefined> {
  const entry = findMount(mountpoint);
  if (entry === undefined) return undefined;
  try {
    return await ControlServer.listen(entry.device);
  } catch (error) {
    const reason = describeError(error);
    log(`${reason}; vmdkfs unmount cannot wait for the image to be closed`);
    return undefined;
  }
}
