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
import { exitNow } from '../os/exit.js';
import { placeOf } from '../os/mount-identity.js';
import { mountHolders } from '../os/mount-holders.js';
import { askToBeSpared } from '../os/oom-score.js';
import { unmount } from '../os/unmount.js';
import type { ControlServer } from './control-socket.js';
import { FlushTimer } from './flush-timer.js';
import { failedWritesNotice } from './failed-writes.js';
import { forgetOwnWords } from './last-words.js';
import { debugLog, enableDebug, log, openLog } from './log.js';
import type { MountRequest } from './mount-request.js';
import { assertOutside, checkFuseDevice, checkMountpoint, clearDeadMount } from './mountpoint.js';
import { openRequested } from './overlaid-image.js';
import type { MountedTree } from './own-mount.js';
import { PidFile } from './pid-file.js';
import { notifyServiceManager } from './service-manager.js';
import { dieOf, Signals, type EndingSignal } from './signals.js';
import { StartInterrupted, startMount, type Started } from './start.js';

const debug = debugLog('mount');

/** Exit code after a second signal: the disk was not unmounted cleanly. */
const FORCED_EXIT = 3;

/** How long the flush, or the close, may take after a second signal, milliseconds. */
const LEAVE_MS = 10_000;

/** How long it may take to hear that the last user of a mount has gone, milliseconds. */
const GONE_MS = 100;

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
  // Signals are not caught yet: until then one ends what hangs on storage.
  const allocated = new SharedArrayBuffer(8);
  new Float64Array(allocated)[0] = image.device.allocatedBytes();
  const signals = new Signals();
  const started = await startMount(image, mountpoint, request, allocated, signals);
  if ('cause' in started) {
    signals.release();
    if (!started.isImageUsed) {
      takeBack();
      image.device.close();
    }
    if (started.cause instanceof StartInterrupted) dieOf(started.cause.signal);
    throw started.cause as Error;
  }
  const session = new Session(image, request, mountpoint, started, pidFile, allocated);
  let refused: unknown;
  try {
    // Threads that serve open nothing any more: where the caller's terminal is replaced in there,
    // that needs the number of its descriptor to stay free.
    pidFile?.write();
    ready({ mountpoint, notices: [...cleared, ...image.notices, ...started.notices] });
    notifyServiceManager('READY=1', `STATUS=${request.image} is mounted on ${mountpoint}`);
  } catch (error) {
    // Whoever asked for the mount is gone, or cannot have it as it was asked for.
    refused = error;
    takeBack();
    await session.detach();
  }
  process.on('uncaughtException', (error) => {
    // Threads that are blocked in the kernel would keep a process that ends by itself.
    process.exitCode = FORCED_EXIT;
    session.leave(`internal error: ${describeError(error)}`);
  });
  try {
    await session.run(signals);
  } finally {
    pidFile?.remove();
  }
  if (refused !== undefined) throw refused as Error;
  forgetOwnWords(mountpoint);
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
  readonly #tree: MountedTree;
  readonly #control: ControlServer | undefined;
  readonly #pidFile: PidFile | undefined;
  /** Kept up to date by the flush thread, see `SharedStatus`. */
  readonly #allocated: SharedArrayBuffer;
  #timer: FlushTimer | undefined;
  #isEnding = false;
  #isSignalled = false;
  #isLeaving = false;
  /** Nobody uses the mount any more. */
  #isClosing = false;

  constructor(
    image: OpenedImage,
    request: MountRequest,
    mountpoint: string,
    { control, tree }: Started,
    pidFile: PidFile | undefined,
    allocated: SharedArrayBuffer,
  ) {
    this.#image = image;
    this.#request = request;
    this.#mountpoint = mountpoint;
    this.#tree = tree;
    this.#control = control;
    this.#pidFile = pidFile;
    this.#allocated = allocated;
  }

  /** Flushes every second, acts on signals, waits for the end of the mount, and closes the image. */
  async run(signals: Signals): Promise<void> {
    if (!this.#image.device.readOnly) this.#startTimer();
    signals.handleWith((signal) => {
      this.#signalled(signal);
    });
    try {
      await this.#tree.ended;
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
    await this.detach();
    // A failure is logged by the thread that has it.
    await this.#timer?.flush().catch(() => undefined);
    await this.#control?.report({ error: describeError(cause) });
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    await this.#tree.release().catch((error: unknown) => {
      log(describeError(error));
    });
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

  #signalled(signal: EndingSignal): void {
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

  /**
   * Flushes what was received and ends the process, and with it the connection. An image that is
   * being closed, because nobody uses the mount any more, is closed instead, and the process ends as
   * it would have.
   */
  leave(reason: string): void {
    if (this.#isLeaving) {
      log(`${reason}: leaving at once`);
      this.#exit();
    }
    this.#isLeaving = true;
    setTimeout(() => {
      log(`the storage does not answer: what was not synced is lost`);
      this.#exit();
    }, LEAVE_MS);
    if (this.#isClosing) {
      const seconds = LEAVE_MS / 1000;
      log(`${reason}: the image is being closed; leaving in ${seconds} s at the latest`);
      return;
    }
    log(`${reason}: leaving; what users of the mount still write is lost`);
    const flushed = this.#timer?.flush().catch(() => undefined);
    void Promise.resolve(flushed).then(async () => {
      // The last user may have gone meanwhile, which threads that end tell a moment later.
      await Promise.race([this.#tree.idle, sleep(GONE_MS)]);
      if (!this.#isClosing) this.#exit();
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

  /** Takes the mount away from its place; whoever uses it goes on. */
  async detach(): Promise<void> {
    const { mount } = this.#tree;
    if (mount === undefined) return;
    const { message, outcome } = await unmount(mount, true);
    if (outcome !== 'unmounted') log(`${this.#mountpoint}: ${message}`);
  }

  async #unmount(): Promise<void> {
    const { mount } = this.#tree;
    if (mount === undefined) return;
    if (placeOf(mount).state === 'gone') {
      log(`${this.#mountpoint}: is detached, and served until its last user is gone`);
      return;
    }
    const { message, outcome } = await unmount(mount, false);
    if (outcome === 'unmounted') return;
    // What lies over it belongs to somebody else.
    if (placeOf(mount).state === 'covered') {
      log(`${this.#mountpoint}: ${message}`);
      return;
    }
    const holders = mountHolders(this.#mountpoint).join(', ');
    log(
      `${this.#mountpoint}: ${message}; detached, and served until its last user is gone${holders === '' ? '' : `: ${holders}`}`,
    );
    await this.detach();
  }
}
