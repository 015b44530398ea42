/**
 * The shared memory of the views of a disk: which files there are, what ranges of the disk they
 * show, and who has them open. All threads that serve a mount see the same.
 *
 * A view has a slot; slot 0 is the whole disk. A partition that changes gets another slot, because
 * what the old one showed may still be open; a slot is used again when nobody has it open. So that
 * the kernel never takes a new view for an old one, an inode is a slot and how often it was used.
 *
 * With the writeback cache the kernel has the size of a file to itself: it counts what is written
 * past the end before we can refuse it, and never asks again. Such a file gets another inode when
 * nobody has it open any more, and with it its own size.
 */
import { DISK_INODE } from '../fuse/file-system.js';
import { MUTEX_WORDS, SharedMutex } from '../os/shared-mutex.js';

/** The disk, the partitions there may be, and as many again that are gone but still open. */
export const SLOTS = 257;

/** The slot of the whole disk. */
export const DISK_SLOT = 0;

// Words (Int32) of the whole.
const TABLE_MUTEX = 0;
const VIEWS_MUTEX = TABLE_MUTEX + MUTEX_WORDS;
/** How often something was written to where tables are. */
const WRITTEN = VIEWS_MUTEX + MUTEX_WORDS;
/** What WRITTEN was when the table was read last. */
const READ = WRITTEN + 1;
const FIRST_SLOT_WORD = READ + 1;

// Words of each slot.
const NUMBER = 0;
const IS_CURRENT = 1;
const USES = 2;
const READERS = 3;
const WRITERS = 4;
const IS_STALE = 5;
const UNCACHED = 6;
const GROWN = 7;
/** What USES was when the slot got its view: inodes since then show the same. */
const FIRST_USE = 8;
const SLOT_WORDS = 9;

// What the word GROWN says of the size that the kernel has for a file.
/** It is right. */
const AS_IT_IS = 0;
/** Something was written past the end, and the kernel may have counted it. */
const TOO_LARGE = 1;
/** The same, and it is known that somebody keeps the file open. */
const HELD = 2;

const WORDS = FIRST_SLOT_WORD + SLOTS * SLOT_WORDS;

// Numbers (Float64) of the whole, each in bytes: where tables are.
const HEAD_END = 0;
const TAIL_START = 1;
const MIDDLE_START = 2;
const MIDDLE_END = 3;
const FIRST_SLOT_NUMBER = 4;

// Numbers of each slot.
const START = 0;
const SIZE = 1;
const SLOT_NUMBERS = 2;

const NUMBERS = FIRST_SLOT_NUMBER + SLOTS * SLOT_NUMBERS;

/** Bytes of shared memory that the views of one disk take; a multiple of 8. */
export const VIEW_STATE_BYTES = NUMBERS * 8 + Math.ceil(WORDS / 2) * 8;

/** Where tables are: before `headEnd`, from `tailStart` on, and between `middleStart` and `middleEnd`. */
export interface TablePlaces {
  readonly headEnd: number;
  readonly tailStart: number;
  readonly middleStart: number;
  readonly middleEnd: number;
}

/** A slot as it is now. */
export interface View {
  readonly slot: number;
  /** Partition number; 0 for the whole disk. */
  readonly number: number;
  /** Whether it has a name in the directory. */
  readonly isCurrent: boolean;
  readonly start: number;
  readonly size: number;
  /** Handles that only read, and whose pages the kernel keeps. */
  readonly readers: number;
  /** Handles that may write. */
  readonly writers: number;
  /** Handles that only read, past the kernel's pages. */
  readonly uncached: number;
}

export class ViewState {
  /** Held while the table is read. */
  readonly tableMutex: SharedMutex;
  /** Held while slots are changed and opens are counted; never while the disk is read. */
  readonly viewsMutex: SharedMutex;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;

  /** Views over `VIEW_STATE_BYTES` of `shared` from byte `offset` on, which is a multiple of 8. */
  constructor(shared: SharedArrayBuffer, offset: number) {
    this.#numbers = new Float64Array(shared, offset, NUMBERS);
    this.#words = new Int32Array(shared, offset + NUMBERS * 8, WORDS);
    this.tableMutex = new SharedMutex(this.#words, TABLE_MUTEX);
    this.viewsMutex = new SharedMutex(this.#words, VIEWS_MUTEX);
  }

  /**
   * A thread has ended without leaving what it was in: what it held is freed, so that nobody waits
   * for it. Slots may be half changed then; the mount ends with its thread.
   */
  threadEnded(dead: number): void {
    for (const mutex of [this.tableMutex, this.viewsMutex]) {
      if (mutex.isHeldBy(dead)) mutex.unlock();
    }
  }

  /** Of a mount that nobody serves yet: nothing was read. */
  initialize(): void {
    this.#words[WRITTEN] = 1;
  }

  /** Tells the size of the disk, which never changes. */
  setDisk(size: number): void {
    this.#numbers[FIRST_SLOT_NUMBER + SIZE] = size;
    this.#words[FIRST_SLOT_WORD + IS_CURRENT] = 1;
  }

  /**
   * The kernel is to look the name of the disk up each time, as those of partitions: the inode of the
   * disk may change, and is not DISK_INODE from the start.
   */
  nameDiskAnew(): void {
    Atomics.compareExchange(this.#words, FIRST_SLOT_WORD + USES, 0, 1);
  }

  /** The slot of an inode, or -1. Called for every READ and WRITE. */
  slotOf(ino: number): number {
    if (ino === DISK_INODE) return DISK_SLOT;
    const index = ino - DISK_INODE;
    if (index < 0) return -1;
    const slot = index % SLOTS;
    const uses = Math.floor(index / SLOTS);
    const last = this.#word(slot, USES);
    return last > 0 && uses <= last && uses >= this.#word(slot, FIRST_USE) ? slot : -1;
  }

  /** Whether an inode of a slot is the one that a look-up of its name finds. */
  isCurrentInode(ino: number, slot: number): boolean {
    return this.inodeOf(slot) === ino;
  }

  /** The inode of a slot as it is used now. */
  inodeOf(slot: number): number {
    return DISK_INODE + slot + SLOTS * this.#word(slot, USES);
  }

  /** First byte on the disk of what a slot shows. */
  startOf(slot: number): number {
    return this.#numbers[FIRST_SLOT_NUMBER + slot * SLOT_NUMBERS + START] ?? 0;
  }

  /** Bytes that a slot shows. */
  sizeOf(slot: number): number {
    return this.#numbers[FIRST_SLOT_NUMBER + slot * SLOT_NUMBERS + SIZE] ?? 0;
  }

  /** Partition number of a slot; 0 for the whole disk. */
  numberOf(slot: number): number {
    return this.#word(slot, NUMBER);
  }

  writersOf(slot: number): number {
    return this.#word(slot, WRITERS);
  }

  /** Whether the kernel may have pages of a slot that another view has overwritten. */
  isStale(slot: number): boolean {
    return this.#word(slot, IS_STALE) !== 0;
  }

  setStale(slot: number, isStale: boolean): void {
    this.#setWord(slot, IS_STALE, isStale ? 1 : 0);
  }

  /** All slots in use, current or not. */
  views(): View[] {
    const views: View[] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      if (slot !== DISK_SLOT && this.#word(slot, USES) === 0) continue;
      views.push({
        slot,
        number: this.#word(slot, NUMBER),
        isCurrent: this.#word(slot, IS_CURRENT) !== 0,
        start: this.startOf(slot),
        size: this.sizeOf(slot),
        readers: this.#word(slot, READERS),
        writers: this.#word(slot, WRITERS),
        uncached: this.#word(slot, UNCACHED),
      });
    }
    return views;
  }

  setCurrent(slot: number, isCurrent: boolean): void {
    this.#setWord(slot, IS_CURRENT, isCurrent ? 1 : 0);
  }

  /** Gives a slot that nobody has open to a partition. */
  assign(slot: number, number: number, start: number, size: number): void {
    this.#setWord(slot, USES, this.#word(slot, USES) + 1);
    this.#setWord(slot, FIRST_USE, this.#word(slot, USES));
    this.#setWord(slot, NUMBER, number);
    this.#numbers[FIRST_SLOT_NUMBER + slot * SLOT_NUMBERS + START] = start;
    this.#numbers[FIRST_SLOT_NUMBER + slot * SLOT_NUMBERS + SIZE] = size;
    this.#setWord(slot, IS_STALE, 0);
    this.#setWord(slot, GROWN, AS_IT_IS);
    this.#setWord(slot, IS_CURRENT, 1);
  }

  /** One more handle of a kind, or one less. */
  count(slot: number, kind: 'readers' | 'uncached' | 'writers', change: 1 | -1): void {
    const word = { readers: READERS, uncached: UNCACHED, writers: WRITERS }[kind];
    const index = FIRST_SLOT_WORD + slot * SLOT_WORDS + word;
    Atomics.add(this.#words, index, change);
    if (change < 0) Atomics.notify(this.#words, index);
  }

  /** Something was written past the end of a slot, by a kernel that has counted it already. */
  wrotePastEnd(slot: number): void {
    this.#setWord(slot, GROWN, TOO_LARGE);
  }

  /** Whether the kernel may have too large a size for a slot. */
  isGrown(slot: number): boolean {
    return this.#word(slot, GROWN) !== AS_IT_IS;
  }

  /**
   * Waits until nobody has a grown slot open for writing, for so many milliseconds at most, and once
   * after each write past the end: who has just closed it may be a moment ahead of its RELEASE, who
   * keeps it open holds nobody up.
   */
  waitForWriters(slot: number, milliseconds: number): void {
    const first = FIRST_SLOT_WORD + slot * SLOT_WORDS;
    if (Atomics.compareExchange(this.#words, first + GROWN, TOO_LARGE, HELD) !== TOO_LARGE) return;
    const end = performance.now() + milliseconds;
    for (;;) {
      const writers = this.writersOf(slot);
      const left = end - performance.now();
      if (writers === 0 || left <= 0) return;
      Atomics.wait(this.#words, first + WRITERS, writers, left);
    }
  }

  /** Gives a slot that nobody has open another inode, for which the kernel asks for its size. */
  renew(slot: number): void {
    this.#setWord(slot, USES, this.#word(slot, USES) + 1);
    this.#setWord(slot, GROWN, AS_IT_IS);
  }

  /** Something was written from `start` to before `end` of the disk. Called for every WRITE. */
  wrote(start: number, end: number): void {
    const numbers = this.#numbers;
    const isNear = start < (numbers[HEAD_END] ?? 0) || end > (numbers[TAIL_START] ?? 0);
    const isInside = start < (numbers[MIDDLE_END] ?? 0) && end > (numbers[MIDDLE_START] ?? 0);
    if (isNear || isInside) Atomics.add(this.#words, WRITTEN, 1);
  }

  /** A number that changes with every write to where tables are. */
  get written(): number {
    return Atomics.load(this.#words, WRITTEN);
  }

  /** Whether the table was read after the last write to where it is. */
  isTableRead(): boolean {
    return Atomics.load(this.#words, READ) === Atomics.load(this.#words, WRITTEN);
  }

  /** The table was read when `written` was this. */
  tableWasRead(written: number): void {
    Atomics.store(this.#words, READ, written);
  }

  /**
   * Sets where tables are.
   *
   * @returns whether these are the places that were watched before
   */
  watch(places: TablePlaces): boolean {
    const wanted = [places.headEnd, places.tailStart, places.middleStart, places.middleEnd];
    const isSame = wanted.every((value, index) => this.#numbers[index] === value);
    wanted.forEach((value, index) => {
      this.#numbers[index] = value;
    });
    return isSame;
  }

  #word(slot: number, word: number): number {
    return Atomics.load(this.#words, FIRST_SLOT_WORD + slot * SLOT_WORDS + word);
  }

  #setWord(slot: number, word: number, value: number): void {
    Atomics.store(this.#words, FIRST_SLOT_WORD + slot * SLOT_WORDS + word, value);
  }
}
