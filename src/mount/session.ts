/**
 * A mounted disk from start to end:
 *
 *   check the mountpoint, open the image, mount, see that the mount answers -> ready
 *   ... serve until the kernel ends the connection (unmount, or a signal that unmounts) ...
 *   have the flush thread close the image, report to whoever waits
 *
 * A signal unmounts. A busy mount is detached instead and served until its last user is gone:
 * leaving at once would lose what they write. A second signal flushes what was received and leaves,
 * also where the storage does not answer; a third does not wait for that. So this thread, which
 * hears them, leaves all waiting for the storage to the flush thread.
 */
import { describeError } from '../errno.js';
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OpenedImage } from '../block/open-image.js';
import { newRequestCounters } from '../fuse/request-counters.js';
import type { Transport } from '../fuse/transport.js';
import { exitNow } from '../os/exit.js';
import { findMount } from '../os/mount-table.js';
import { mountHolders } from '../os/mount-holders.js';
import { askToBeSpared } from '../os/oom-score.js';
import { unmount } from '../os/unmount.js';
import { ControlServer, type Answers } from './control-socket.js';
import { FlushTimer } from './flush-timer.js';
import { failedWritesNotice } from './failed-writes.js';
import { forgetLastWords } from './last-words.js';
import { debugLog, enableDebug, log, openLog } from './log.js';
import { MountError } from './mount-error.js';
import type { MountRequest } from './mount-request.js';
import { statusReader } from './mount-status.js';
import { assertAnswers, mountTree } from './mount-tree.js';
import { assertOutside, checkFuseDevice, checkMountpoint, clearDeadMount } from './mountpoint.js';
import { openRequested } from './overlaid-image.js';
import { PidFile } from './pid-file.js';
import { notifyServiceManager } from './service-manager.js';
import { Signals } from './signals.js';

const debug = debugLog('mount');

/** Exit code after a second signal: the disk was not unmounted cleanly. */
const FORCED_EXIT = 3;

/** How long the flush after a second signal may take, milliseconds. */
const LEAVE_MS = 10_000;

/** How long serving threads may take to end after their mount, milliseconds. */
const END_MS = 2000;

/** What is known of a mount that answers. */
export interface Readiness {
  /** Absolute path without links. */
  readonly mountpoint: string;
  /** What the user should know. */
  readonly notices: readonly string[];
}

/**
 * Mounts and serves until the disk is unmounted and its image closed.
 *
 * @param ready called once, when the mount answers
 * @throws MountError, VmdkError or the system's error, with nothing left mounted
 */
export async function serve(
  request: MountRequest,
  ready: (readiness: Readiness) => void,
): Promise<void> {
  if (request.debug) enableDebug();
  checkFuseDevice();
  const cleared = await clearDeadMount(request.mountpoint);
  const { passed } = request;
  const mountpoint = checkMountpoint(
    request.mountpoint,
    request.image,
    passed.includes('nonempty'),
  );
  const pidFile = checkFiles(request, mountpoint);
  debug('score for the OOM killer: %s', askToBeSpared());
  const { image, takeBack } = openRequested(request, mountpoint);
  process.chdir('/');
  const signals = new Signals();
  let session: Session;
  try {
    session = await Session.start(image, mountpoint, request, pidFile);
  } catch (error) {
    signals.release();
    takeBack();
    image.device.close();
    throw error;
  }
  let refused: unknown;
  try {
    // Threads that serve open nothing any more: where the caller's terminal is replaced in there,
    // that needs the number of its descriptor to stay free.
    pidFile?.write();
    ready({ mountpoint, notices: [...cleared, ...image.notices] });
    notifyServiceManager('READY=1', `STATUS=${request.image} is mounted on ${mountpoint}`);
  } catch (error) {
    // Whoever asked for the mount is gone, or cannot have it as it was asked for.
    refused = error;
    takeBack();
    await unmount(mountpoint, true);
  }
  process.on('uncaughtException', (error) => {
    // Threads that are blocked in the kernel would keep a process that ends by itself.
    session.leave(`internal error: ${describeError(error)}`);
  });
  try {
    await session.run(signals);
  } finally {
    pidFile?.remove();
  }
  if (refused !== undefined) throw refused as Error;
  forgetLastWords(process.getuid?.() ?? 0, mountpoint);
}

/** Looks at the files that are written when the mount answers, before anything is mounted. */
function checkFiles(request: MountRequest, mountpoint: string): PidFile | undefined {
  const { log: logFile, pidFile } = request;
  if (logFile !== undefined) {
    assertOutside(logFile, mountpoint);
    closeSync(openLog(logFile));
  }
  if (pidFile === undefined) return undefined;
  assertOutside(pidFile, mountpoint);
  return new PidFile(pidFile);
}

class Session {
  readonly #image: OpenedImage;
  readonly #request: MountRequest;
  readonly #mountpoint: string;
  readonly #transport: Transport;
  readonly #control: ControlServer | undefined;
  readonly #pidFile: PidFile | undefined;
  /** Kept up to date by the flush thread, see `SharedStatus`. */
  readonly #allocated: SharedArrayBuffer;
  #timer: FlushTimer | undefined;
  #isEnding = false;
  #isSignalled = false;
  #isLeaving = false;

  private constructor(
    image: OpenedImage,
    request: MountRequest,
    mountpoint: string,
    transport: Transport,
    control: ControlServer | undefined,
    pidFile: PidFile | undefined,
    allocated: SharedArrayBuffer,
  ) {
    this.#image = image;
    this.#request = request;
    this.#mountpoint = mountpoint;
    this.#transport = transport;
    this.#control = control;
    this.#pidFile = pidFile;
    this.#allocated = allocated;
  }

  static async start(
    image: OpenedImage,
    mountpoint: string,
    request: MountRequest,
    pidFile: PidFile | undefined,
  ): Promise<Session> {
    const shared = {
      counters: newRequestCounters(request.workers + 1),
      allocated: new SharedArrayBuffer(8),
    };
    new Float64Array(shared.allocated)[0] = image.device.allocatedBytes();
    const transport = await mountTree(image, mountpoint, request, shared.counters);
    // Nobody may be waiting for this when it rejects.
    transport.ended.catch(() => undefined);
    try {
      const died = transport.ended.then(() => {
        throw new MountError(`${mountpoint}: was unmounted before it answered`);
      });
      await Promise.race([assertAnswers(mountpoint, image.device.size), died]);
    } catch (error) {
      await unmount(mountpoint, true);
      // The image must not be closed under threads that still serve.
      await Promise.race([transport.ended.catch(() => undefined), sleep(END_MS)]);
      throw error;
    }
    const status = statusReader(image, request, transport, shared);
    const control = await listen(mountpoint, { status });
    const { allocated } = shared;
    const session = new Session(image, request, mountpoint, transport, control, pidFile, allocated);
    debug('%s is mounted on %s over %s', request.image, mountpoint, transport.name);
    return session;
  }

  /** Flushes every second, acts on signals, waits for the end of the mount, and closes the image. */
  async run(signals: Signals): Promise<void> {
    if (!this.#image.device.readOnly) this.#startTimer();
    signals.handleWith((signal) => {
      this.#signalled(signal);
    });
    try {
      await this.#transport.ended;
    } catch (error) {
      await this.#abandon(error);
      throw error;
    }
    this.#beginEnd();
    await this.#close();
  }

  /**
   * A serving thread died. What was received is flushed where that is still allowed; the image is
   * not closed, because other threads may be in it, and stays marked as not cleanly closed. The
   * connection ends with the process, which its users notice.
   */
  async #abandon(cause: unknown): Promise<void> {
    log(`${describeError(cause)}; unmounting`);
    this.#beginEnd();
    await unmount(this.#mountpoint, true);
    // A failure is logged by the thread that has it.
    await this.#timer?.flush().catch(() => undefined);
    await this.#control?.report({ error: describeError(cause) });
  }

  async #close(): Promise<void> {
    const notice = failedWritesNotice(this.#image, this.#request);
    if (notice !== undefined) log(notice);
    try {
      await this.#closeImage();
      await this.#control?.report(notice === undefined ? {} : { notice });
    } catch (error) {
      await this.#control?.report({ error: describeError(error) });
      throw error;
    }
    debug('closed');
  }

  async #closeImage(): Promise<void> {
    if (this.#timer?.isAlive === true) {
      await this.#timer.close();
      return;
    }
    this.#image.device.close();
    await this.#timer?.died;
  }

  #startTimer(): void {
    this.#timer = new FlushTimer(this.#image.description, this.#allocated);
    this.#timer.died.catch((error: unknown) => {
      log(`${describeError(error)}; unmounting`);
      this.#end();
    });
  }

  #signalled(signal: string): void {
    debug('%s', signal);
    if (this.#isSignalled) {
      this.leave(`${signal} again`);
      return;
    }
    this.#isSignalled = true;
    // An image that is being closed already takes the time it needs.
    if (this.#isEnding) return;
    this.#beginEnd();
    this.#end();
  }

  #beginEnd(): void {
    if (!this.#isEnding) notifyServiceManager('STOPPING=1');
    this.#isEnding = true;
  }

  /** Flushes what was received and ends the process, and with it the connection. */
  leave(reason: string): void {
    if (this.#isLeaving) {
      log(`${reason}: leaving at once`);
      this.#exit();
    }
    this.#isLeaving = true;
    log(`${reason}: leaving; what users of the mount still write is lost`);
    const limit = sleep(LEAVE_MS).then(() => {
      log(`the storage does not answer: what was not synced is lost`);
    });
    const flushed = this.#timer?.flush().catch(() => undefined);
    void Promise.race([flushed, limit]).then(() => {
      this.#exit();
    });
  }

  #exit(): never {
    this.#pidFile?.remove();
    exitNow(FORCED_EXIT);
  }

  #end(): void {
    this.#unmount().catch((error: unknown) => {
      log(`${this.#mountpoint}: ${describeError(error)}`);
    });
  }

  async #unmount(): Promise<void> {
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

async function listen(mountpoint: string, answers: Answers): Promise<ControlServer | undefined> {
  const entry = findMount(mountpoint);
  if (entry === undefined) return undefined;
  try {
    return await ControlServer.listen(entry.device, answers);
  } catch (error) {
    const reason = describeError(error);
    log(
      `${reason}; vmdkfs unmount cannot wait for the image to be closed, and nobody can ask for counters`,
    );
    return undefined;
  }
}
