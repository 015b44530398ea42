/**
 * What the threads of a conversion share: which pieces of the disk are taken, how far they are, and
 * for a stream whose turn it is to append.
 *
 * A thread takes the next piece that holds data under the mutex, and with it a number. Pieces of a
 * stream are appended in the order of their numbers: whoever has the next number reserves its place
 * in the file, passes the turn on, and writes outside of it.
 */
import { alignDown } from '../../binary/alignment.js';
import { MUTEX_WORDS, SharedMutex } from '../../os/shared-mutex.js';

/** How often a thread that waits looks whether the conversion was stopped. */
const STOP_LOOK_MS = 50;

/** Bytes of the disk that a thread takes at a time. */
export const PIECE_BYTES = 1024 * 1024;

const TICKET = MUTEX_WORDS;
const TURN = TICKET + 1;
const STOPPED = TURN + 1;
/** An even number, for the numbers of 64 bits behind them. */
const WORDS = STOPPED + 2;
/** Behind the words, as numbers of 64 bits. */
const CURSOR = 0;
const STREAM_END = 1;
const STREAM_TABLE = 2;
const NUMBERS = 3;

/** Shared memory for one conversion. */
export function newConversionState(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * 4 + NUMBERS * 8);
}

/** A piece of the disk that a thread has taken; bytes. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  /** Its number among those that hold data, from 0. */
  readonly ticket: number;
}

export class ConversionState {
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #mutex: SharedMutex;

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared, 0, WORDS);
    this.#numbers = new Float64Array(shared, WORDS * 4, NUMBERS);
    this.#mutex = new SharedMutex(this.#words, 0);
  }

  /**
   * Takes the next piece of a disk of `size` bytes.
   *
   * @param nextData the first offset from one on that may hold data, or `size`
   * @returns undefined where there is none left, or the conversion is stopped
   */
  take(size: number, nextData: (offset: number) => number): Piece | undefined {
    this.#mutex.lock();
    try {
      if (this.#isStopped()) return undefined;
      const cursor = this.cursor;
      const data = cursor < size ? nextData(cursor) : size;
      if (data >= size) {
        this.#numbers[CURSOR] = size;
        return undefined;
      }
      const start = alignDown(data, PIECE_BYTES);
      const end = Math.min(size, start + PIECE_BYTES);
      this.#numbers[CURSOR] = end;
      return { start, end, ticket: Atomics.add(this.#words, TICKET, 1) };
    } finally {
      this.#mutex.unlock();
    }
  }

  /** Where the pieces end that were taken so far, bytes; for progress. */
  get cursor(): number {
    return this.#numbers[CURSOR] ?? 0;
  }

  /**
   * Has all threads end with the piece that they have, also those that wait for their turn: one of
   * them has failed, or the user has had enough.
   */
  stop(): void {
    Atomics.store(this.#words, STOPPED, 1);
    Atomics.notify(this.#words, TURN);
  }

  #isStopped(): boolean {
    return Atomics.load(this.#words, STOPPED) === 1;
  }

  /**
   * Waits until the pieces before `ticket` have passed their turn on.
   *
   * @throws Error where the conversion is stopped
   */
  awaitTurn(ticket: number): void {
    for (;;) {
      if (this.#isStopped()) throw new Error('the conversion was stopped');
      const turn = Atomics.load(this.#words, TURN);
      if (turn === ticket) return;
      // Looked at again now and then: a stop does not change the turn.
      Atomics.wait(this.#words, TURN, turn, STOP_LOOK_MS);
    }
  }

  /** Passes the turn on. */
  passTurn(): void {
    Atomics.add(this.#words, TURN, 1);
    Atomics.notify(this.#words, TURN);
  }

  /** Where the stream ends by now, bytes. Only who has the turn may look or change it. */
  get streamEnd(): number {
    return this.#numbers[STREAM_END] ?? 0;
  }

  set streamEnd(end: number) {
    this.#numbers[STREAM_END] = end;
  }

  /** The table of the stream that is being filled. Only who has the turn may look or change it. */
  get streamTable(): number {
    return this.#numbers[STREAM_TABLE] ?? 0;
  }

  set streamTable(table: number) {
    this.#numbers[STREAM_TABLE] = table;
  }
}
