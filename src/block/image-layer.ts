/**
 * One image of a chain: extents one behind the other, over a parent. It finds the extents of a
 * range, enforces their access, and does what happens once for the whole image: the CID changes
 * durably before the first write, so that children of an older state can tell.
 */
import { systemError, toldError } from '../errno.js';
import type { BlockDevice } from './block-device.js';
import type { Extent, Holding } from './extent.js';
import { FileWatch, type WatchedFiles } from './file-watch.js';
import { FlatExtent, type FlatExtentDescription } from './flat-extent.js';
import { HostFile, type HostFileDescription } from './host-file.js';
import { LayerState } from './layer-state.js';
import { SparseExtent, type HeaderWrite, type SparseExtentDescription } from './sparse-extent.js';
import { StreamExtent, type StreamExtentDescription } from './stream-extent.js';
import { ZeroExtent, type ZeroExtentDescription } from './zero-extent.js';

/** Any extent as it travels between threads. */
export type ExtentDescription =
  FlatExtentDescription | SparseExtentDescription | StreamExtentDescription | ZeroExtentDescription;

/** The file with the descriptor. */
export interface DescriptorFile {
  readonly file: HostFileDescription;
  /** Whether `file` is no extent's, and to be closed with the layer. */
  readonly isOwnFile: boolean;
}

/** Bytes for a place of one of a layer's files. */
export interface LayerWrite extends HeaderWrite {
  readonly file: HostFileDescription;
}

/** A layer as it travels between threads: sizes, descriptors of open files and shared memory. */
export interface LayerDescription {
  /** The image file, for messages. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly extents: readonly ExtentDescription[];
  /** Why an extent may not be written, for each of them; undefined where it may. */
  readonly protection: readonly (string | undefined)[];
  readonly state: SharedArrayBuffer;
  readonly descriptor: DescriptorFile;
  /**
   * What to write before anything else: a new CID, and what ends change tracking. Only those to the
   * descriptor's file have a barrier of their own: where an extent's header is lost, the image is
   * tracked as before. Empty for a layer that is not written.
   */
  readonly firstWrites: readonly LayerWrite[];
  /** The files of the extents that are written, then that of a descriptor of its own. */
  readonly watched: WatchedFiles;
}

export class ImageLayer implements BlockDevice {
  readonly size: number;
  readonly readOnly: boolean;
  readonly #path: string;
  readonly #extents: readonly Extent[];
  readonly #protection: readonly (string | undefined)[];
  readonly #hasProtected: boolean;
  readonly #state: LayerState;
  readonly #parent: BlockDevice | undefined;
  readonly #descriptor: DescriptorFile;
  readonly #firstWrites: readonly LayerWrite[];
  readonly #watch: FileWatch;

  constructor(description: LayerDescription, parent: BlockDevice | undefined) {
    this.size = description.size;
    this.readOnly = description.readOnly;
    this.#path = description.path;
    this.#protection = description.protection;
    this.#hasProtected = description.protection.some((reason) => reason !== undefined);
    this.#state = new LayerState(description.state);
    this.#parent = parent;
    this.#descriptor = description.descriptor;
    this.#firstWrites = description.firstWrites;
    this.#watch = new FileWatch(description.watched, () => this.#state.holes);
    this.#extents = description.extents.map((extent) => this.#attach(extent));
  }

  #attach(description: ExtentDescription): Extent {
    switch (description.kind) {
      case 'flat':
        return new FlatExtent(description, this.#state);
      case 'sparse':
        return new SparseExtent(description, this.#parent, this.#state, () => {
          this.flush();
        });
      case 'stream':
        return new StreamExtent(description, this.#parent, this.#state);
      case 'zero':
      case 'noaccess':
        return new ZeroExtent(description);
    }
  }

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    for (let done = 0, index = this.#indexAt(offset); done < length; index++) {
      const extent = this.#extent(index);
      const at = offset + done - extent.start;
      const count = Math.min(length - done, extent.size - at);
      extent.read(target, targetOffset + done, count, at);
      done += count;
    }
  }

  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void {
    this.#assertWritable(offset, length);
    let isWritten = false;
    try {
      this.#write(source, sourceOffset, length, offset);
      isWritten = true;
    } finally {
      if (!isWritten) this.#state.writeFailed();
    }
  }

  #write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void {
    this.#beginWriting();
    for (let done = 0, index = this.#indexAt(offset); done < length; index++) {
      const extent = this.#extent(index);
      const at = offset + done - extent.start;
      const count = Math.min(length - done, extent.size - at);
      extent.write(source, sourceOffset + done, count, at);
      done += count;
    }
  }

  zero(offset: number, length: number): void {
    this.#assertWritable(offset, length);
    this.#beginWriting();
    for (let done = 0, index = this.#indexAt(offset); done < length; index++) {
      const extent = this.#extent(index);
      const at = offset + done - extent.start;
      const count = Math.min(length - done, extent.size - at);
      extent.zero(at, count);
      done += count;
    }
  }

  flush(): void {
    if (this.readOnly) return;
    this.#state.flushMutex.lock();
    try {
      this.#state.assertSound(this.#path);
      const before = this.#state.counters.get('barriers');
      this.#extents.forEach((extent, index) => {
        if (extent.isDirty) this.#assertOurs(this.#watch.lossOf(index));
      });
      for (const extent of this.#extents) extent.flush();
      if (this.#state.counters.get('barriers') !== before) this.#state.counters.add('flushes');
    } finally {
      this.#state.flushMutex.unlock();
    }
  }

  /**
   * Looks whether the files are still those that were opened, as far as they are not looked at when
   * they are flushed: to be called again and again, by one thread.
   *
   * @returns what the user should know, a sentence each
   * @throws EIO where one is gone, or not ours any more
   */
  watchFiles(): readonly string[] {
    if (this.readOnly) return [];
    this.#state.flushMutex.lock();
    try {
      const isDirty = this.#extents.some((extent) => extent.isDirty);
      const barriers = this.#state.counters.get('barriers');
      const { loss, notices } = this.#watch.look({ barriers, isDirty });
      this.#assertOurs(loss);
      return notices;
    } finally {
      this.#state.flushMutex.unlock();
    }
  }

  /** Before the first write: they may have been open for long. */
  #assertAllOurs(): void {
    this.#state.flushMutex.lock();
    try {
      this.#assertOurs(this.#watch.loss());
    } finally {
      this.#state.flushMutex.unlock();
    }
  }

  /** @param loss why a file gets nothing more, which the first who finds it says */
  #assertOurs(loss: string | undefined): void {
    if (loss === undefined) return;
    throw this.#state.fileLost() ? systemError('EIO', loss) : toldError('EIO', loss);
  }

  /** Whether anything in the range is this image's own, and not its parents' alone. */
  holds(offset: number, length: number): boolean {
    for (let done = 0, index = this.#indexAt(offset); done < length; index++) {
      const extent = this.#extent(index);
      const at = offset + done - extent.start;
      const count = Math.min(length - done, extent.size - at);
      if (extent.holds(at, count)) return true;
      done += count;
    }
    return false;
  }

  /**
   * What this image itself holds at `offset`, without its parents, as far as it is of one kind; see
   * `Extent.holding`. Offsets are those of the disk.
   */
  holding(offset: number, limit: number): Holding {
    const extent = this.#extent(this.#indexAt(offset));
    const end = Math.min(extent.size, limit - extent.start);
    const found = extent.holding(offset - extent.start, end);
    return { ...found, end: extent.start + found.end };
  }

  nextData(offset: number, limit: number): number {
    return this.#seek(offset, limit, (extent, at, end) => extent.nextData(at, end));
  }

  nextHole(offset: number, limit: number): number {
    return this.#seek(offset, limit, (extent, at, end) => extent.nextHole(at, end));
  }

  allocatedBytes(): number {
    let total = this.#parent?.allocatedBytes() ?? 0;
    for (const extent of this.#extents) total += extent.allocatedBytes();
    return Math.min(total, this.size);
  }

  close(): void {
    const steps: (() => void)[] = [];
    if (!this.readOnly)
      steps.push(() => {
        this.finish();
      });
    for (const extent of this.#extents)
      steps.push(() => {
        extent.close();
      });
    if (this.#descriptor.isOwnFile)
      steps.push(() => {
        new HostFile(this.#descriptor.file).close();
      });
    steps.push(() => this.#parent?.close());
    runAll(steps);
  }

  /**
   * Marks the extents as cleanly closed, after everything of all of them is durable. `close` does it
   * too; nothing may be written in between.
   */
  finish(): void {
    this.flush();
    runAll(
      this.#extents.map((extent) => () => {
        extent.finish();
      }),
    );
  }

  /** Index of the extent that holds `offset`. */
  #indexAt(offset: number): number {
    let low = 0;
    let high = this.#extents.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#extents[middle]?.start ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #extent(index: number): Extent {
    const extent = this.#extents[index];
    if (extent === undefined) throw systemError('EINVAL', `${this.#path}: range past the end`);
    return extent;
  }

  #seek(
    offset: number,
    limit: number,
    find: (extent: Extent, at: number, end: number) => number,
  ): number {
    for (let index = this.#indexAt(offset), at = offset; at < limit; index++) {
      const extent = this.#extent(index);
      const end = Math.min(extent.size, limit - extent.start);
      const found = find(extent, at - extent.start, end);
      if (found < end) return extent.start + found;
      at = extent.start + end;
    }
    return limit;
  }

  /** Changes the CID the first time. */
  #beginWriting(): void {
    this.#state.assertSound(this.#path);
    if (this.#state.isCidChanged) return;
    this.#assertAllOurs();
    this.#changeCid();
  }

  /** Refuses what may not be written before any of it is. */
  #assertWritable(offset: number, length: number): void {
    if (this.readOnly) throw systemError('EROFS', `${this.#path}: opened read-only`);
    if (!this.#hasProtected) return;
    const last = this.#indexAt(offset + Math.max(length, 1) - 1);
    for (let index = this.#indexAt(offset); index <= last; index++) {
      const reason = this.#protection[index];
      if (reason === undefined) continue;
      throw systemError('EROFS', `${this.#path}: extent ${index + 1}: ${reason}`);
    }
  }

  /**
   * Changes the CID before anything is written, durably: for those who note it elsewhere too.
   *
   * @throws EIO after a barrier that failed; the system's error
   */
  changeCid(): void {
    this.#beginWriting();
  }

  /**
   * The only barrier on the way of a write, once: the host may write data in place to storage at any
   * time, and a child of the old state must not fit a disk that has changed.
   */
  #changeCid(): void {
    this.#state.mutex.lock();
    try {
      if (this.#state.isCidChanged) return;
      this.#state.assertSound(this.#path);
      for (const { bytes, file, position } of this.#firstWrites) {
        new HostFile(file).write(bytes, 0, bytes.length, position);
      }
      if (this.#firstWrites.length > 0) this.#state.barrier(new HostFile(this.#descriptor.file));
      this.#state.cidChanged();
    } finally {
      this.#state.mutex.unlock();
    }
  }
}

/** Takes every step, also after one has failed; then throws the first failure. */
function runAll(steps: readonly (() => void)[]): void {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
