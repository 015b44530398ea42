/**
 * One file of an image on the host: whole reads and writes at byte offsets, and the barrier. All
 * I/O of the engine passes here. A descriptor number is good in every thread of the process.
 */
import { closeSync, fstatSync, ftruncateSync } from 'node:fs';
import { systemError } from '../errno.js';
import {
  preallocate,
  punchHole,
  readAt,
  seekData,
  seekHole,
  startWriteback,
  syncData,
  writeAt,
} from '../os/file-io.js';

/** A file as it travels between threads. */
export interface HostFileDescription {
  readonly fd: number;
  /** For messages. */
  readonly path: string;
  /** The part of it that counts, where that is not all of it; it is only read then. */
  readonly window?: FileWindow;
}

/** A part of a file that is read as a file of its own; bytes. */
export interface FileWindow {
  readonly offset: number;
  readonly length: number;
}

/** Bytes of a block of the host in `st_blocks`. */
const BLOCK_BYTES = 512;

export class HostFile {
  readonly path: string;
  readonly #fd: number;
  readonly #start: number;
  readonly #end: number;

  constructor(description: HostFileDescription) {
    const { window } = description;
    this.path = description.path;
    this.#fd = description.fd;
    this.#start = window?.offset ?? 0;
    this.#end = window === undefined ? Infinity : window.offset + window.length;
  }

  /** Fills `length` bytes of `target`; bytes past the end of the file read as zeros. */
  read(target: Uint8Array, targetOffset: number, length: number, position: number): void {
    const start = this.#start + position;
    const there = Math.min(length, Math.max(0, this.#end - start));
    let done = 0;
    while (done < there) {
      const to = targetOffset + done;
      const count = readAt(this.#fd, target, to, there - done, start + done, this.path);
      if (count === 0) break;
      done += count;
    }
    if (done < length) target.fill(0, targetOffset + done, targetOffset + length);
  }

  /** Writes all of `length` bytes, or throws the system's error. */
  write(source: Uint8Array, sourceOffset: number, length: number, position: number): void {
    let done = 0;
    while (done < length) {
      const count = writeAt(
        this.#fd,
        source,
        sourceOffset + done,
        length - done,
        position + done,
        this.path,
      );
      if (count === 0) throw systemError('EIO', `${this.path}: the host wrote nothing`);
      done += count;
    }
  }

  /** Waits until everything written to the file is durable, its length included. */
  sync(): void {
    syncData(this.#fd);
  }

  /** Lets the host begin to write `length` bytes at `position` to storage; no barrier. */
  startWriteback(position: number, length: number): void {
    startWriteback(this.#fd, position, length);
  }

  /** Makes the file `length` bytes long: what is new reads as zeros and takes no space. */
  setLength(length: number): void {
    ftruncateSync(this.#fd, length);
  }

  /**
   * Makes the first `length` bytes of a file take their space on the host.
   *
   * @returns false where the host cannot
   */
  preallocate(length: number): boolean {
    return preallocate(this.#fd, 0, length, this.path);
  }

  /** Length of the file in bytes, asked from the system; never on the write path. */
  length(): number {
    return Math.min(fstatSync(this.#fd).size, this.#end) - this.#start;
  }

  /** Bytes that the file takes up on the host; Infinity for a device, which is all there. */
  allocatedBytes(): number {
    const stats = fstatSync(this.#fd);
    if (stats.isBlockDevice()) return Infinity;
    return Math.min(stats.blocks * BLOCK_BYTES, this.#end - this.#start);
  }

  /**
   * Makes `length` bytes at `position` read as zeros by giving their space back.
   *
   * @returns false where the host cannot, with nothing changed
   */
  punch(position: number, length: number): boolean {
    return punchHole(this.#fd, position, length, this.path);
  }

  /** The first byte in `[position, limit)` that the host has data for, or `limit`. */
  nextData(position: number, limit: number): number {
    const start = this.#start;
    return seekData(this.#fd, start + position, start + limit) - start;
  }

  /** The first byte in `[position, limit)` that is a hole on the host, or `limit`. */
  nextHole(position: number, limit: number): number {
    const start = this.#start;
    return seekHole(this.#fd, start + position, start + limit) - start;
  }

  /** The byte of the whole file that `position` of its part that counts is. */
  placeOf(position: number): number {
    return this.#start + position;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
