/**
 * The files of a mount as views of one disk: `disk.raw` shows all of it, `pN.raw` a partition.
 *
 * Which there are. The table is read when a name is asked for, if something was written to where
 * tables are since it was read. A partition that is gone has no name any more; who has it open keeps
 * the range that it had.
 *
 * Who may open them. The kernel keeps pages of each file by itself, so two files that share bytes
 * could show each other's past. Hence, of files that share bytes:
 *
 * - none is opened for writing while another is open, except by readers without pages;
 * - beside an open writer others are opened only for reading, and without pages; where pages cannot
 *   be done without, or where the kernel keeps what is written to itself, not at all;
 * - a file is opened without the pages that the kernel has of it, if another was open for writing
 *   since they were read.
 *
 * What does not go together gets ETXTBSY. A close reaches us after the program that closed has gone
 * on, so an open is refused only after a while.
 */
import { describeError, Errno } from '../errno.js';
import type { BlockDevice } from '../block/block-device.js';
import { Caching } from '../fuse/file-system.js';
import type { ByteRange, Partition } from '../volumes/partition.js';
import { partitionTableOf } from '../volumes/partition-table.js';
import { DISK_SLOT, SLOTS, type TablePlaces, type View, type ViewState } from './view-state.js';

/** How long an open waits for the close of what it does not go together with, milliseconds. */
const CONFLICT_WAIT_MS = 500;

/** How long a reader does that could also go without pages, milliseconds. */
const READER_WAIT_MS = 50;

/** How long a look-up waits for the close of a file whose size the kernel has wrong, milliseconds. */
const CLOSE_WAIT_MS = 50;

/** How often the table is read again at once, where it changes while it is read. */
const READ_ROUNDS = 8;

/** Notices that are logged, different ones: whoever writes the table decides how many there are. */
const NOTICES_MAX = 100;

const DISK_NAME = 'disk.raw';

export interface DiskViewsOptions {
  /**
   * Whether the transport can open a file without pages, and has pages of its own for each inode
   * rather than for each name.
   */
  readonly hasUncachedFiles: boolean;
  /** Whether the kernel keeps written pages to itself for a while. */
  readonly writebackCache: boolean;
  /**
   * Whether an open is asked again soon instead of waiting for another thread: for the thread that
   * hears of the end of threads, and which nobody would free where one ended in a mutex.
   */
  readonly neverWaits?: boolean;
  readonly log: (message: string) => void;
}

export class DiskViews {
  readonly #device: BlockDevice;
  readonly #state: ViewState;
  readonly #options: DiskViewsOptions;
  readonly #told = new Set<string>();

  constructor(device: BlockDevice, state: ViewState, options: DiskViewsOptions) {
    this.#device = device;
    this.#state = state;
    this.#options = options;
    state.setDisk(device.size);
    if (options.writebackCache) state.nameDiskAnew();
  }

  /** The names there are now. */
  names(): string[] {
    this.#refresh();
    const numbers = this.#current().map(({ number }) => number);
    return [DISK_NAME, ...numbers.sort((a, b) => a - b).map((number) => `p${number}.raw`)];
  }

  /** The slot of a name, or -1. The name of the disk is known without reading. */
  find(name: string): number {
    if (name === DISK_NAME) return DISK_SLOT;
    const digits = /^p(?<number>[1-9]\d{0,4})\.raw$/.exec(name)?.groups?.['number'];
    if (digits === undefined) return -1;
    this.#refresh();
    return this.#current().find(({ number }) => number === Number(digits))?.slot ?? -1;
  }

  /** The inode of a slot for a look-up: a new one where the kernel has a wrong size for the last. */
  inodeOf(slot: number): number {
    const state = this.#state;
    if (!state.isGrown(slot)) return state.inodeOf(slot);
    state.waitForWriters(slot, CLOSE_WAIT_MS);
    state.viewsMutex.lock();
    try {
      const isOpen = state
        .views()
        .some((each) => each.slot === slot && each.readers + each.uncached + each.writers > 0);
      if (state.isGrown(slot) && !isOpen) state.renew(slot);
      return state.inodeOf(slot);
    } finally {
      state.viewsMutex.unlock();
    }
  }

  /** A `Caching`, -EAGAIN or -ETXTBSY; see `FileSystem.open`. -ESTALE where the name has gone. */
  open(ino: number, slot: number, writes: boolean, waited: number): number {
    const state = this.#state;
    if (this.#options.neverWaits !== true) state.viewsMutex.lock();
    else if (!state.viewsMutex.tryLock()) return -Errno.EAGAIN;
    try {
      const views = state.views();
      const view = views.find((each) => each.slot === slot);
      const isFound = view?.isCurrent === true && state.isCurrentInode(ino, slot);
      if (!isFound) return -Errno.ESTALE;
      const refusal = this.#judge(view, views, writes, waited);
      if (refusal !== Caching.KEEP) return refusal;
      state.count(slot, writes ? 'writers' : 'readers', 1);
      if (writes) {
        for (const other of views) if (overlap(view, other)) state.setStale(other.slot, true);
      }
      return state.isStale(slot) ? Caching.DROP : Caching.KEEP;
    } finally {
      state.viewsMutex.unlock();
    }
  }

  /** A handle is closed; the pages that its open dropped are gone. */
  release(slot: number, writes: boolean, caching: number): void {
    this.#close(slot, writes, caching, caching === Caching.DROP);
  }

  /** A handle never came to be, and no pages were dropped. */
  undoOpen(slot: number, writes: boolean, caching: number): void {
    this.#close(slot, writes, caching, false);
  }

  /**
   * Takes no mutex, so that it never waits: as long as the handle counts nobody can open what would
   * make its pages stale again, and nobody can use its slot for another view.
   */
  #close(slot: number, writes: boolean, caching: number, hasDropped: boolean): void {
    if (hasDropped) this.#state.setStale(slot, false);
    const kind = caching === Caching.NONE ? 'uncached' : 'readers';
    this.#state.count(slot, writes ? 'writers' : kind, -1);
  }

  /** KEEP where the open goes together with what is open; counts the handle where it is without pages. */
  #judge(view: View, views: readonly View[], writes: boolean, waited: number): number {
    const { hasUncachedFiles, writebackCache } = this.#options;
    const others = views.filter((other) => overlap(view, other));
    const isWritten = others.some(({ writers }) => writers > 0);
    const isRead = others.some(({ readers }) => readers > 0);
    const isNamesake = !hasUncachedFiles && hasOpenNamesake(view, views);
    if (!isWritten && !isNamesake && !(writes && isRead)) return Caching.KEEP;
    const isUncached = !writes && !isNamesake && hasUncachedFiles && !writebackCache;
    if (waited < (isUncached ? READER_WAIT_MS : CONFLICT_WAIT_MS)) return -Errno.EAGAIN;
    if (!isUncached) return -Errno.ETXTBSY;
    this.#state.count(view.slot, 'uncached', 1);
    return Caching.NONE;
  }

  #current(): View[] {
    return this.#state.views().filter(({ isCurrent, slot }) => isCurrent && slot !== DISK_SLOT);
  }

  /** Reads the table again where it may have changed. What cannot be read leaves all as it was. */
  #refresh(): void {
    const state = this.#state;
    if (state.isTableRead()) return;
    state.tableMutex.lock();
    try {
      for (let round = 0; round < READ_ROUNDS && !state.isTableRead(); round++) this.#readTable();
    } catch (error) {
      this.#tell(`the partition table cannot be read: ${describeError(error)}`);
    } finally {
      state.tableMutex.unlock();
    }
  }

  #readTable(): void {
    const { size } = this.#device;
    const { written } = this.#state;
    const table = partitionTableOf(this.#device);
    const isWatched = this.#state.watch(placesOf(table.places, size));
    this.#publish(table.partitions.filter((partition) => !partition.isContainer));
    for (const notice of table.notices) this.#tell(`partition table: ${notice}`);
    // Writes to places that were not watched yet went by unseen: read again.
    if (isWatched) this.#state.tableWasRead(written);
  }

  #publish(partitions: readonly Partition[]): void {
    const state = this.#state;
    state.viewsMutex.lock();
    try {
      const views = state.views();
      const isShownBy = (partition: Partition, view: View): boolean =>
        view.number === partition.number &&
        view.start === partition.start &&
        view.size === partition.size;
      for (const view of views) {
        if (view.slot === DISK_SLOT) continue;
        state.setCurrent(
          view.slot,
          partitions.some((partition) => isShownBy(partition, view)),
        );
      }
      for (const partition of partitions) {
        if (views.some((view) => isShownBy(partition, view))) continue;
        const slot = freeSlot(state.views());
        if (slot === undefined) this.#tell('too many partitions that are gone are still open');
        else state.assign(slot, partition.number, partition.start, partition.size);
      }
    } finally {
      state.viewsMutex.unlock();
    }
  }

  #tell(message: string): void {
    if (this.#told.size >= NOTICES_MAX || this.#told.has(message)) return;
    this.#told.add(message);
    this.#options.log(message);
    if (this.#told.size < NOTICES_MAX) return;
    this.#options.log('partition table: nothing more is said of it as long as this mount lasts');
  }
}

/** Whether two views share bytes. */
function overlap(a: View, b: View): boolean {
  return a.slot !== b.slot && a.start < b.start + b.size && b.start < a.start + a.size;
}

/** Whether what had the same name before, and thus the same pages, is open. */
function hasOpenNamesake(view: View, views: readonly View[]): boolean {
  return views.some(
    ({ number, readers, slot, writers }) =>
      slot !== view.slot && number === view.number && readers + writers > 0,
  );
}

/** A slot that was never used, or one that nobody can reach any more. */
function freeSlot(views: readonly View[]): number | undefined {
  const used = new Set(views.map(({ slot }) => slot));
  for (let slot = DISK_SLOT + 1; slot < SLOTS; slot++) if (!used.has(slot)) return slot;
  return views.find(
    ({ isCurrent, readers, uncached, writers }) => !isCurrent && readers + uncached + writers === 0,
  )?.slot;
}

/**
 * The places of tables as what a write is compared with: the ends of the disk, and one range around
 * all between. That range may hold data too, where there are logical partitions; a write to it costs
 * no more than that the table is read again for the next name.
 */
function placesOf(places: readonly ByteRange[], size: number): TablePlaces {
  const [head, tail, ...others] = places;
  const headEnd = head?.end ?? size;
  const tailStart = tail?.start ?? 0;
  const between = others.filter(({ end, start }) => end > headEnd && start < tailStart);
  if (between.length === 0) return { headEnd, tailStart, middleStart: size, middleEnd: 0 };
  const middleStart = Math.min(...between.map(({ start }) => start));
  return { headEnd, tailStart, middleStart, middleEnd: Math.max(...between.map(({ end }) => end)) };
}
