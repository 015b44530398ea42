/**
 * A conversion from its files to its end: threads that copy, signals, and what becomes of the new
 * image. Nothing is in its place before all of it is durable, and where a step fails, or a signal
 * ends it, nothing of it is left.
 */
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { realpathSync, statSync } from '../os/host-fs.js';
import { isOutsideFolder } from '../block/create-image.js';
import { runConversion, type ConversionJob } from '../block/convert/conversion-job.js';
import { ConversionState, newConversionState } from '../block/convert/conversion-state.js';
import { beginTarget, type NewTarget, type TargetKind } from '../block/convert/new-target.js';
import { PendingImage } from '../block/convert/pending-image.js';
import { Replacement } from '../block/convert/replacement.js';
import { openSource, type SourceDisk, type SourceForm } from '../image/convert/source-disk.js';
import type { OpenPermissions } from '../block/open-policy.js';
import type { Adapter } from '../vmdk/disk-geometry.js';
import { UsageError } from './mount-error.js';
import { Signals } from './signals.js';

export interface ConversionOptions {
  readonly kind: TargetKind;
  /** Path of the image that the new one is to be a child of. */
  readonly parent: string | undefined;
  /** That of the source where it is undefined. */
  readonly adapter: Adapter | undefined;
  /** What the source, its parents and `parent` are allowed to be. */
  readonly permissions: OpenPermissions;
  readonly disk: string | undefined;
  readonly lock: boolean;
  readonly form: SourceForm;
  /** Whether what is at the target may be replaced. */
  readonly replace: boolean;
  /** How many threads copy; with 1 the calling one does. As many as there are cores if absent. */
  readonly threads?: number;
  /** Told how much is done, from 0 to 1. */
  readonly progress: (share: number) => void;
}

export interface ConversionResult {
  /** Bytes of the disk. */
  readonly size: number;
  /** Bytes that the files of the new image take up on the host. */
  readonly allocated: number;
  readonly files: readonly string[];
  readonly notices: readonly string[];
}

const PROGRESS_MS = 200;

/** How long threads have to end by themselves: the storage may not answer. */
const STOP_MS = 3000;

/** More threads than these find nothing to do at one file. */
const THREADS_MAX = 8;

/**
 * Converts the disk `input` to a new image `output`.
 *
 * @throws UsageError where one of them is the other, or a part of it; VmdkError, the system's error
 */
export async function convert(
  input: string,
  output: string,
  options: ConversionOptions,
): Promise<ConversionResult> {
  const signals = new Signals();
  let source: SourceDisk | undefined;
  let parent: SourceDisk | undefined;
  try {
    source = openSource(input, options);
    if (options.parent !== undefined) {
      parent = openSource(options.parent, { ...options, disk: undefined, form: 'image' });
    }
    return await convertDisk(source, parent, output, options, signals);
  } catch (error) {
    if (error instanceof Interrupted) return await endBy(error.signal, signals);
    throw error;
  } finally {
    parent?.device.close();
    source?.device.close();
    signals.release();
  }
}

/** A signal came; not seen outside. */
class Interrupted extends Error {
  readonly signal: string;

  constructor(signal: string) {
    super(`ended by ${signal}`);
    this.signal = signal;
  }
}

/** Ends the process as the signal would have without us. */
function endBy(signal: string, signals: Signals): Promise<never> {
  signals.release();
  process.kill(process.pid, signal);
  return new Promise(() => undefined);
}

async function convertDisk(
  source: SourceDisk,
  parent: SourceDisk | undefined,
  output: string,
  options: ConversionOptions,
  signals: Signals,
): Promise<ConversionResult> {
  const target = join(realpathSync(dirname(output)), basename(output));
  const inputs = [source, ...(parent === undefined ? [] : [parent])].map(({ image }) => image);
  const replacement = new Replacement(target, inputs);
  const pending = new PendingImage(target);
  try {
    const state = newConversionState();
    const made = makeTarget(pending, source, parent, options, new ConversionState(state));
    try {
      assertNoInput(replacement.conflict(pending.targets()));
      replacement.claim(pending.targets(), options.replace, options.lock);
      const job = { source: source.image, size: source.device.size, state, target: made.target };
      await runJob(job, options, signals);
      made.finish();
    } catch (error) {
      made.abandon();
      throw error;
    }
    const files = pending.targets();
    pending.publish(replacement.isNeeded, replacement.obsolete(files));
    const notices = [...source.notices, ...(parent?.notices ?? []), ...noticesOf(output, options)];
    return { size: source.device.size, allocated: allocatedBytes(files), files, notices };
  } finally {
    replacement.release();
    pending.discard();
  }
}

function assertNoInput(conflict: string | undefined): void {
  if (conflict === undefined) return;
  throw new UsageError(`${conflict} is read for the new image, and cannot be replaced by it`);
}

function makeTarget(
  pending: PendingImage,
  source: SourceDisk,
  parent: SourceDisk | undefined,
  options: ConversionOptions,
  state: ConversionState,
): NewTarget {
  const { kind, parent: path, permissions } = options;
  const beneath =
    path === undefined || parent === undefined ? undefined : { path, image: parent.image };
  const adapter = options.adapter ?? source.adapter;
  const plan = { kind, size: source.device.size, adapter, parent: beneath, permissions };
  return beginTarget(pending.path, pending.home, plan, state);
}

function noticesOf(output: string, { parent }: ConversionOptions): string[] {
  if (parent === undefined || !isOutsideFolder(output, parent)) return [];
  return [
    `${parent} lies outside the folder of ${output}: mounting ${output} will need --allow-outside`,
  ];
}

function allocatedBytes(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + statSync(file).blocks * 512, 0);
}

/** Has threads do `job`; settles when it is done, or when all of them have ended after a failure. */
async function runJob(
  job: ConversionJob,
  { progress, threads }: ConversionOptions,
  signals: Signals,
): Promise<void> {
  // Two even on a single core: one reads while the other waits for storage.
  const count = threads ?? Math.min(THREADS_MAX, Math.max(2, availableParallelism()));
  if (count === 1) {
    runConversion(job);
    return;
  }
  const state = new ConversionState(job.state);
  const timer = setInterval(() => {
    progress(state.cursor / job.size);
  }, PROGRESS_MS);
  const workers = Array.from(
    { length: count },
    () => new Worker(new URL('./convert-worker.js', import.meta.url), { workerData: job }),
  );
  const ends = workers.map(ended);
  const interrupted = new Promise<never>((_, reject) => {
    signals.handleWith((signal) => {
      reject(new Interrupted(signal));
    });
  });
  try {
    const done = Promise.all(ends);
    // A failure of a second thread is no news.
    done.catch(() => undefined);
    await Promise.race([done, interrupted]);
  } finally {
    clearInterval(timer);
    // One that failed may leave others waiting for it. A thread that is terminated while it loads
    // or calls the C library aborts the process, so it is only done where one does not end by itself.
    state.stop();
    await Promise.race([Promise.allSettled(ends), sleep(STOP_MS, undefined, { ref: false })]);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** Settles when a thread has done its share. */
function ended(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`a thread of the conversion ended with code ${code}`));
    });
  });
}
