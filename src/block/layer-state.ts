/**
 * What the threads share about one layer (one image of a chain): its two mutexes, its flags and
 * its counters.
 *
 * `mutex` is held to load a table, to allocate with its fill, and to copy tables for a flush; never
 * for data of grains that are already allocated. `flushMutex` is held for a whole flush, so that a
 * caller of fsync never returns while another thread is still writing what it waits for. The flush
 * mutex is taken first.
 *
 * After a failed fdatasync Linux marks the lost pages clean and the next call succeeds, so nobody
 * can know what is on disk: the layer is then broken, and writes and flushes answer EIO until the
 * image is opened again. So it is when a file of it was deleted, replaced or cut underneath.
 */
import { systemError, toldError } from '../errno.js';
import type { Holes } from './file-watch.js';
import type { HostFile } from './host-file.js';
import { COUNTERS_WORDS, LayerCounters } from './layer-counters.js';
import { MUTEX_WORDS, SharedMutex } from '../os/shared-mutex.js';

const FLUSH_MUTEX = MUTEX_WORDS;
const BROKEN = 2 * MUTEX_WORDS;
const CID_CHANGED = BROKEN + 1;
const FAILED_WRITES = BROKEN + 2;
const HOLES_BEGUN = BROKEN + 3;
const HOLES_ENDED = BROKEN + 4;
const COUNTERS = BROKEN + 5;
const WORDS = COUNTERS + COUNTERS_WORDS;

// What the word BROKEN says.
const SOUND = 0;
/** Nobody knows what is on disk. */
const UNKNOWN = 1;
/** A file of the layer is gone, or not ours any more. */
const LOST = 2;

/** Shared memory for one layer's state. */
export function newLayerState(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * 4);
}

export class LayerState {
  readonly mutex: SharedMutex;
  readonly flushMutex: SharedMutex;
  readonly counters: LayerCounters;
  readonly #words: Int32Array;

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared);
    this.mutex = new SharedMutex(this.#words, 0);
    this.flushMutex = new SharedMutex(this.#words, FLUSH_MUTEX);
    this.counters = new LayerCounters(this.#words.subarray(COUNTERS));
  }

  /** @throws EIO when an earlier barrier failed, or a file was lost */
  assertSound(path: string): void {
    const broken = Atomics.load(this.#words, BROKEN);
    if (broken === SOUND) return;
    if (broken === LOST) {
      throw toldError(
        'EIO',
        `${path}: one of its files was replaced, cut or deleted; nothing more is written`,
      );
    }
    throw systemError(
      'EIO',
      `${path}: an earlier flush failed or was cut off; unmount, check the disk, mount again`,
    );
  }

  /**
   * A file was replaced, cut or deleted by somebody else: nothing more is written to the layer.
   *
   * @returns whether that is new
   */
  fileLost(): boolean {
    return Atomics.compareExchange(this.#words, BROKEN, SOUND, LOST) === SOUND;
  }

  /** Waits until `file` is durable; where that fails the layer is broken from then on. */
  barrier(file: Pick<HostFile, 'sync'>): void {
    try {
      file.sync();
      this.counters.add('barriers');
    } catch (error) {
      Atomics.store(this.#words, BROKEN, UNKNOWN);
      throw error;
    }
  }

  /**
   * A thread has ended without leaving what it was in: what it held is freed, so that nobody waits
   * for it, and the layer is broken, because nobody knows how far it came.
   *
   * @returns whether it was inside
   */
  threadEnded(dead: number): boolean {
    const held = [this.mutex, this.flushMutex].filter((mutex) => mutex.isHeldBy(dead));
    // Broken before it is free: whoever gets in next must see it.
    if (held.length > 0) Atomics.store(this.#words, BROKEN, UNKNOWN);
    for (const mutex of held) mutex.unlock();
    return held.length > 0;
  }

  /**
   * Punches a hole into a file of the layer, which others have to be able to tell from one that
   * somebody else has made.
   *
   * @returns whether the host could, with nothing changed where not
   */
  punch(file: Pick<HostFile, 'punch'>, position: number, length: number): boolean {
    Atomics.add(this.#words, HOLES_BEGUN, 1);
    try {
      return file.punch(position, length);
    } finally {
      Atomics.add(this.#words, HOLES_ENDED, 1);
    }
  }

  /** How many holes were begun and ended so far. */
  get holes(): Holes {
    // The end first: one that begins between the two is seen as not ended.
    const ended = Atomics.load(this.#words, HOLES_ENDED);
    return { begun: Atomics.load(this.#words, HOLES_BEGUN), ended };
  }

  /** A write failed, and whoever asked for it was told. */
  writeFailed(): void {
    Atomics.add(this.#words, FAILED_WRITES, 1);
  }

  /** How many writes failed, from 0 to 2^32 - 1. */
  get failedWrites(): number {
    return Atomics.load(this.#words, FAILED_WRITES) >>> 0;
  }

  get isCidChanged(): boolean {
    return Atomics.load(this.#words, CID_CHANGED) === 1;
  }

  /** The new CID is durable: it changes once for as long as the image is open. */
  cidChanged(): void {
    Atomics.store(this.#words, CID_CHANGED, 1);
  }
}
