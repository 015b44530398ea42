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
 * image is opened again.
 */
import { systemError } from '../errno.js';
import type { HostFile } from './host-file.js';
import { COUNTERS_WORDS, LayerCounters } from './layer-counters.js';
import { MUTEX_WORDS, SharedMutex } from '../os/shared-mutex.js';

const FLUSH_MUTEX = MUTEX_WORDS;
const BROKEN = 2 * MUTEX_WORDS;
const CID_CHANGED = BROKEN + 1;
const FAILED_WRITES = BROKEN + 2;
const COUNTERS = BROKEN + 3;
const WORDS = COUNTERS + COUNTERS_WORDS;

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

  /** @throws EIO when an earlier barrier failed */
  assertSound(path: string): void {
    if (Atomics.load(this.#words, BROKEN) === 0) return;
    throw systemError(
      'EIO',
      `${path}: an earlier flush failed or was cut off; unmount, check the disk, mount again`,
    );
  }

  /** Waits until `file` is durable; where that fails the layer is broken from then on. */
  barrier(file: Pick<HostFile, 'sync'>): void {
    try {
      file.sync();
      this.counters.add('barriers');
    } catch (error) {
      Atomics.store(this.#words, BROKEN, 1);
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
    if (held.length > 0) Atomics.store(this.#words, BROKEN, 1);
    for (const mutex of held) mutex.unlock();
    return held.length > 0;
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
