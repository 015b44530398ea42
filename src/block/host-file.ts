/**
 * One file of an image on the host: whole reads and writes at byte offsets, and the barrier. All
 * I/O of the engine passes here. A descriptor number is good in every thread of the process.
 */
import { closeSync, fstatSync, ftruncateSync } from 'node:fs';
import { systemError } from '../errno.js';
import { pieceAt, type FilePieces, type FileWindow } from './file-window.js';
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

/** A stretch of a file that is data, or a hole. */
export interface FileStretch {
  /** The first byte behind it; more of the kind may follow. */
  readonly end: number;
  readonly isHole: boolean;
  /** The byte of the whole file at which it begins; undefined where none is behind it. */
  readonly place: number | undefined;
}

/** A piece of a file, or a part of one; bytes of the part of the file that counts. */
interface Piece {
  readonly from: number;
  readonly end: number;
  /** Where it begins in the whole file; undefined for a hole. */
  readonly place: number | undefined;
}

/** Bytes of a block of the host in `st_blocks`. */
const BLOCK_BYTES = 512;

export class HostFile {
  readonly path: string;
  readonly #fd: number;
  readonly #start: number;
  readonly #end: number;
  readonly #pieces: FilePieces | undefined;

  constructor(description: HostFileDescription) {
    const { window } = description;
    this.path = description.path;
    this.#fd = description.fd;
    this.#start = window?.offset ?? 0;
    this.#end = window === undefined ? Infinity : window.offset + window.length;
    this.#pieces = window?.pieces;
  }

  /** Fills `length` bytes of `target`; bytes past the end of the file read as zeros. */
  read(target: Uint8Array, targetOffset: number, length: number, position: number): void {
    if (this.#pieces !== undefined) {
      this.#readPieces(this.#pieces, target, targetOffset, length, position);
      return;
    }
    const start = this.#start + position;
    const there = Math.min(length, Math.max(0, this.#end - start));
    const done = this.#readRange(target, targetOffset, there, start);
    if (done < length) target.fill(0, targetOffset + done, targetOffset + length);
  }

  /** Reads `length` bytes of the whole file; how many there are. */
  #readRange(target: Uint8Array, targetOffset: number, length: number, place: number): number {
    let done = 0;
    while (done < length) {
      const to = targetOffset + done;
      const count = readAt(this.#fd, target, to, length - done, place + done, this.path);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  #readPieces(
    pieces: FilePieces,
    target: Uint8Array,
    targetOffset: number,
    length: number,
    position: number,
  ): void {
    const limit = position + length;
    let to = targetOffset;
    for (const { end, from, place } of this.#piecesIn(pieces, position, limit)) {
      const done = place === undefined ? 0 : this.#readRange(target, to, end - from, place);
      if (done < end - from) target.fill(0, to + done, to + end - from);
      to += end - from;
    }
    target.fill(0, to, targetOffset + length);
  }

  /** The pieces between `position` and `limit`, cut off there. */
  *#piecesIn(pieces: FilePieces, position: number, limit: number): Generator<Piece> {
    const { places, starts } = pieces;
    const all = Math.min(limit, this.#end - this.#start);
    let from = position;
    for (let piece = pieceAt(pieces, position); from < all; piece++) {
      const start = starts[piece] ?? 0;
      const place = places[piece] ?? -1;
      const end = Math.min(starts[piece + 1] ?? Infinity, all);
      yield { from, end, place: place < 0 ? undefined : place + from - start };
      from = end;
    }
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
    if (this.#pieces !== undefined) return this.#end - this.#start;
    return Math.min(fstatSync(this.#fd).size, this.#end) - this.#start;
  }

  /** Bytes that the file takes up on the host; Infinity for a device, which is all there. */
  allocatedBytes(): number {
    const stats = fstatSync(this.#fd);
    if (stats.isBlockDevice()) return Infinity;
    const most = this.#pieces?.bytes ?? this.#end - this.#start;
    return Math.min(stats.blocks * BLOCK_BYTES, most);
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
    if (this.#pieces === undefined) return this.#seek(seekData, position, limit, this.#start);
    for (const { end, from, place } of this.#piecesIn(this.#pieces, position, limit)) {
      const found = place === undefined ? end : this.#seek(seekData, from, end, place - from);
      if (found < end) return found;
    }
    return limit;
  }

  /** The first byte in `[position, limit)` that is a hole on the host, or `limit`. */
  nextHole(position: number, limit: number): number {
    if (this.#pieces === undefined) return this.#seek(seekHole, position, limit, this.#start);
    for (const { end, from, place } of this.#piecesIn(this.#pieces, position, limit)) {
      const found = place === undefined ? from : this.#seek(seekHole, from, end, place - from);
      if (found < end) return found;
    }
    return limit;
  }

  /** @param shift from places of the part that counts to those of the whole file */
  #seek(seek: typeof seekData, position: number, limit: number, shift: number): number {
    return seek(this.#fd, position + shift, limit + shift) - shift;
  }

  /** What begins at `position`, and goes on up to `limit` at most. */
  stretch(position: number, limit: number): FileStretch {
    if (this.#pieces === undefined) {
      return this.#stretchOf(position, limit, this.#start + position);
    }
    // Only what lies in one piece is in one place.
    for (const { end, place } of this.#piecesIn(this.#pieces, position, limit)) {
      if (place === undefined) return { end, isHole: true, place };
      return this.#stretchOf(position, end, place);
    }
    return { end: limit, isHole: true, place: undefined };
  }

  #stretchOf(position: number, limit: number, place: number): FileStretch {
    const data = this.nextData(position, limit);
    if (data > position) return { end: data, isHole: true, place };
    return { end: this.nextHole(position, limit), isHole: false, place };
  }

  close(): void {
    closeSync(this.#fd);
  }
}
