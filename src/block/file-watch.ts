/**
 * Whether the files of an image are still those that were opened. Other programs may delete, replace,
 * cut or change them; locks bind only those who look for them. It is asked at a flush, never for a
 * write: a file that is gone or not ours any more gets nothing more, a changed one a warning.
 *
 * What is no reason for alarm: a file that never had a name, a device, a folder or a file that was
 * renamed, a link that leads elsewhere by now, more or fewer names of the same file, our own writes.
 *
 * A file that was cut grows again with what we append, and has a hole then where it had data: so a
 * block at its end is remembered. Where we have punched holes since, nothing follows from one.
 *
 * Times tell only what others did while we wrote nothing, and only on file systems of this machine:
 * a server elsewhere may set them later. Its inode numbers may not be stable either, so there a file
 * counts as replaced only where it looks different too.
 */
import { readlinkSync, statfsSync, statSync } from '../os/host-fs.js';
import { isZero } from '../binary/zeros.js';
import { fstatSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { Errno, toErrno } from '../errno.js';
import { readAt, seekData } from '../os/file-io.js';
import type { HostFileDescription } from './host-file.js';

/** A file as it was found when it was opened for writing. */
interface WatchedFile {
  readonly fd: number;
  /** For messages. */
  readonly path: string;
  /** Where it was, without links; undefined where the system does not say. */
  readonly place: { readonly path: string; readonly folder: string } | undefined;
  /** Numbers (Float64) that the holder of the flush mutex changes: see the constants. */
  readonly shared: SharedArrayBuffer;
  readonly isLocal: boolean;
  /** Whether no other descriptor of the image leads to the same file. */
  readonly isAlone: boolean;
}

/** The files of a layer that are written; undefined in the place of one that cannot be watched. */
export type WatchedFiles = readonly (WatchedFile | undefined)[];

/** Bytes that the file had when it was last looked at: it never gets shorter while it is written. */
const LENGTH = 0;
/** Where a block at its end begins that was not all zeros then; -1 where none is known. */
const PROBE = 1;
/** The holes that we had begun to punch then. */
const HOLES = 2;
const NUMBERS = 3;

/** Holes that the layer has begun and ended to punch. */
export interface Holes {
  readonly begun: number;
  readonly ended: number;
}

const BLOCK_BYTES = 4096;
const BLOCK = new Uint8Array(BLOCK_BYTES);

/** What was written so far, as far as it says whether anything was written between two looks. */
export interface Activity {
  /** A number that grows with every barrier. */
  readonly barriers: number;
  /** Whether something waits for a barrier, or is being written. */
  readonly isDirty: boolean;
}

/**
 * What `f_type` is of file systems whose files only this machine changes, and where a hole comes of
 * nothing but cutting and punching: ZFS makes one of zeros (statfs(2)).
 */
const LOCAL_TYPES: readonly number[] = [
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // btrfs
  0xf2f52010, // F2FS
  0x01021994, // tmpfs
];

/** Files that are looked at in one round, of an image that has more. */
const ROUND_MAX = 64;

/** Looks at files that were just opened for writing; undefined for those that have none. */
export function watchFiles(files: readonly (HostFileDescription | undefined)[]): WatchedFiles {
  const stats = files.map((file) => (file === undefined ? undefined : fstatSync(file.fd)));
  const uses = new Map<string, number>();
  for (const each of stats) {
    if (each !== undefined) uses.set(identityOf(each), (uses.get(identityOf(each)) ?? 0) + 1);
  }
  const locals = new Map<number, boolean>();
  return files.map((file, index) => {
    const found = stats[index];
    // A device has no length to lose, a file without a name no name.
    if (file === undefined || found === undefined || !found.isFile() || found.nlink === 0) {
      return undefined;
    }
    const isLocal = locals.get(found.dev) ?? isLocalFile(file.fd);
    locals.set(found.dev, isLocal);
    const isAlone = uses.get(identityOf(found)) === 1;
    const { fd, path } = file;
    const numbers = new Float64Array(new SharedArrayBuffer(NUMBERS * 8));
    numbers[LENGTH] = found.size;
    numbers[PROBE] = isLocal ? probeOf(fd, path, found.size) : -1;
    return { fd, path, place: placeOf(fd), shared: numbers.buffer, isLocal, isAlone };
  });
}

function isLocalFile(fd: number): boolean {
  try {
    return LOCAL_TYPES.includes(statfsSync(`/proc/self/fd/${fd}`).type);
  } catch {
    return false;
  }
}

/** The block at the end of a file, where it can serve as PROBE. */
function probeOf(fd: number, path: string, length: number): number {
  const block = Math.floor(Math.max(0, length - 1) / BLOCK_BYTES) * BLOCK_BYTES;
  return isZeros(fd, path, block) ? -1 : block;
}

/** Whether a block holds nothing but zeros, or cannot be read: a barrier says what is wrong then. */
function isZeros(fd: number, path: string, block: number): boolean {
  try {
    return isZero(BLOCK, 0, readAt(fd, BLOCK, 0, BLOCK_BYTES, block, path));
  } catch {
    return true;
  }
}

function placeOf(fd: number): WatchedFile['place'] {
  try {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    return { path, folder: identityOf(statSync(dirname(path))) };
  } catch {
    return undefined;
  }
}

function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

/** The watch over the files of one layer; for one thread, with the flush mutex held. */
export class FileWatch {
  readonly #files: readonly (FileState | undefined)[];
  #next = 0;

  /** @param holes what the layer has punched by now */
  constructor(files: WatchedFiles, holes: () => Holes) {
    this.#files = files.map((file) =>
      file === undefined ? undefined : new FileState(file, holes),
    );
  }

  /** Why nothing more may be written to the file of that index; undefined where it may. */
  lossOf(index: number): string | undefined {
    return this.#files[index]?.loss();
  }

  /** The same of the first of all files. */
  loss(): string | undefined {
    for (const file of this.#files) {
      const loss = file?.loss();
      if (loss !== undefined) return loss;
    }
    return undefined;
  }

  /**
   * Looks at the next files, to be called again and again.
   *
   * @param activity of the whole layer, by now
   * @returns why nothing more may be written, and what the user should know: each once
   */
  look(activity: Activity): { loss: string | undefined; notices: string[] } {
    const notices: string[] = [];
    const count = Math.min(ROUND_MAX, this.#files.length);
    for (let looked = 0; looked < count; looked++) {
      const file = this.#files[this.#next % this.#files.length];
      this.#next += 1;
      const loss = file?.loss();
      if (loss !== undefined) return { loss, notices };
      if (file?.wasChanged(activity) === true) {
        notices.push(
          `${file.path}: another program has changed it; unmount, and run vmdkfs check before you use it`,
        );
      }
    }
    return { loss: undefined, notices };
  }
}

/** One file as this thread has seen it last. */
class FileState {
  readonly path: string;
  readonly #file: WatchedFile;
  readonly #holes: () => Holes;
  readonly #numbers: Float64Array;
  #mtimeMs = -1;
  #seen: Activity = { barriers: -1, isDirty: true };
  #isSuspect = false;
  #isTold = false;

  constructor(file: WatchedFile, holes: () => Holes) {
    this.#file = file;
    this.#holes = holes;
    this.path = file.path;
    this.#numbers = new Float64Array(file.shared);
  }

  loss(): string | undefined {
    const stats = this.#stat();
    if (stats === undefined) return undefined;
    const { path } = this;
    if (stats === 'gone' || stats.nlink === 0) return `${path}: was deleted; ${NOTHING_MORE}`;
    const length = this.#numbers[LENGTH] ?? 0;
    if (stats.size < length) {
      return `${path}: was cut from ${length} to ${stats.size} bytes; ${NOTHING_MORE}`;
    }
    if (this.#hasLostData()) return `${path}: was cut below ${length} bytes; ${NOTHING_MORE}`;
    if (this.#isReplaced(stats)) return `${path}: another file is in its place; ${NOTHING_MORE}`;
    this.#remember(stats.size);
    return undefined;
  }

  /** Whether there is a hole that we have not punched where there was data. */
  #hasLostData(): boolean {
    const { fd, path } = this.#file;
    const probe = this.#numbers[PROBE] ?? -1;
    if (probe < 0 || this.#holes().begun !== this.#numbers[HOLES]) return false;
    if (!isZeros(fd, path, probe)) return false;
    const isHole = seekData(fd, probe, probe + BLOCK_BYTES) > probe;
    return isHole && this.#holes().begun === this.#numbers[HOLES];
  }

  #remember(length: number): void {
    const numbers = this.#numbers;
    const before = this.#holes();
    if (numbers[LENGTH] === length && numbers[HOLES] === before.begun) return;
    numbers[LENGTH] = length;
    const { fd, isLocal, path } = this.#file;
    // One that is being punched may become a hole any moment.
    const isKnown = isLocal && before.begun === before.ended;
    numbers[PROBE] = isKnown ? probeOf(fd, path, length) : -1;
    numbers[HOLES] = before.begun;
  }

  /**
   * Whether somebody else has changed it, which is told once. A write of ours may be under way that
   * is not known yet, so it has to be seen twice.
   */
  wasChanged(activity: Activity): boolean {
    const { isAlone, isLocal } = this.#file;
    if (!isLocal || !isAlone || this.#isTold) return false;
    const stats = this.#stat();
    if (stats === undefined || stats === 'gone') return false;
    const isIdle =
      !activity.isDirty && !this.#seen.isDirty && activity.barriers === this.#seen.barriers;
    this.#seen = activity;
    if (!isIdle || stats.mtimeMs === this.#mtimeMs) {
      this.#mtimeMs = stats.mtimeMs;
      this.#isSuspect = false;
      return false;
    }
    this.#isTold = this.#isSuspect;
    this.#isSuspect = true;
    return this.#isTold;
  }

  /** Undefined where it cannot be known. */
  #stat(): Stats | 'gone' | undefined {
    try {
      return fstatSync(this.#file.fd);
    } catch (error) {
      // What is wrong otherwise the next barrier says.
      return toErrno(error) === -Errno.ESTALE ? 'gone' : undefined;
    }
  }

  /** Whether its name in the same folder leads to another file. */
  #isReplaced(own: Stats): boolean {
    const { isLocal, place } = this.#file;
    if (place === undefined) return false;
    try {
      const named = statSync(place.path);
      if (named.ino === own.ino && named.dev === own.dev) return false;
      if (!isLocal && named.size === own.size && named.mtimeMs === own.mtimeMs) return false;
      return identityOf(statSync(dirname(place.path))) === place.folder;
    } catch {
      return false; // it was renamed, or we may not look
    }
  }
}

const NOTHING_MORE = 'nothing more is written; copy what you need from the mount, and unmount';
