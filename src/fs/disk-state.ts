/**
 * What all threads that serve a mount share about its tree: owner, mode and times, which are those of
 * all its files, and behind them the state of its views. Set by the last who sets it; none of it is
 * in the image.
 */
import { VIEW_STATE_BYTES, ViewState } from './view-state.js';

// Numbers (Float64): milliseconds since 1970.
const CREATED = 0;
const MODIFIED = 1;
const NUMBERS = 2;

// Words (Int32), behind the numbers.
const UID = 0;
const GID = 1;
const MODE = 2;
const WORDS = 4;

const OWN_BYTES = NUMBERS * 8 + WORDS * 4;

/** How a tree looks at first. */
export interface InitialState {
  readonly uid: number;
  readonly gid: number;
  /** Permissions of the files. */
  readonly mode: number;
  /** Modification time of the image, milliseconds since 1970. */
  readonly mtime: number;
}

/** Shared memory for the state of one mounted tree. */
export function newDiskState(initial: InitialState): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(OWN_BYTES + VIEW_STATE_BYTES);
  const state = new DiskState(shared);
  state.setOwner(initial.uid, initial.gid);
  state.mode = initial.mode;
  state.mtime = initial.mtime;
  new Float64Array(shared, 0, NUMBERS)[CREATED] = initial.mtime;
  viewState(shared).initialize();
  return shared;
}

/** The state of the views in what `newDiskState` made. */
export function viewState(shared: SharedArrayBuffer): ViewState {
  return new ViewState(shared, OWN_BYTES);
}

export class DiskState {
  readonly #numbers: Float64Array;
  readonly #words: Int32Array;

  constructor(shared: SharedArrayBuffer) {
    this.#numbers = new Float64Array(shared, 0, NUMBERS);
    this.#words = new Int32Array(shared, NUMBERS * 8, WORDS);
  }

  /** Times of the directory. */
  get created(): number {
    return this.#numbers[CREATED] ?? 0;
  }

  get mtime(): number {
    return this.#numbers[MODIFIED] ?? 0;
  }

  set mtime(milliseconds: number) {
    this.#numbers[MODIFIED] = milliseconds;
  }

  get mode(): number {
    return Atomics.load(this.#words, MODE);
  }

  set mode(permissions: number) {
    Atomics.store(this.#words, MODE, permissions);
  }

  get uid(): number {
    return Atomics.load(this.#words, UID) >>> 0;
  }

  get gid(): number {
    return Atomics.load(this.#words, GID) >>> 0;
  }

  /** Sets what is given. */
  setOwner(uid: number | undefined, gid: number | undefined): void {
    if (uid !== undefined) Atomics.store(this.#words, UID, uid);
    if (gid !== undefined) Atomics.store(this.#words, GID, gid);
  }
}
