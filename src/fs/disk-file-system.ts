/**
 * The mounted tree: a directory with `disk.raw`, and a file `pN.raw` for each partition. Each file
 * behaves like a block device that is a file. Its size is fixed: O_TRUNC (which arrives as a
 * truncation to 0) is ignored as block devices do, so that `cp image disk.raw` works; any other change
 * of size fails, writes past the end get ENOSPC and reads past it are short. A write over the end is
 * short too; with the writeback cache it gets ENOSPC when what fits is written. Permissions, owner and
 * time can be set so that `cp -p` and `rsync -t` succeed; they are those of all files, and last as long
 * as the mount. Which files there are and who may open them is in `disk-views.ts`.
 *
 * Here exceptions of the engine become errnos; what the user of the mount cannot see from an EIO
 * goes to the log.
 */
import { constants } from 'node:fs';
import { Errno, describeError, isTold, toErrno } from '../errno.js';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  mayWrite,
  SEEK_DATA,
  SEEK_HOLE,
} from '../file-flags.js';
import type { BlockDevice } from '../block/block-device.js';
import {
  DISK_INODE,
  ROOT_INODE,
  type AttributeChanges,
  type Attributes,
  type FileSystem,
  type FileSystemStatistics,
} from '../fuse/file-system.js';
import { DiskState, viewState } from './disk-state.js';
import { DiskViews } from './disk-views.js';
import { RangeUsage } from './range-usage.js';
import { DISK_SLOT, type ViewState } from './view-state.js';

const BLOCK_BYTES = 512;
/** Preferred request size: a grain. */
const BLKSIZE = 64 * 1024;
const STATFS_BSIZE = 4096;
/** Distinct failures that are logged; a broken disk must not fill a log. */
const LOGGED_MAX = 100;
const PERMISSIONS = 0o777;

/** What a tree needs besides the disk. */
export interface DiskFileSystemOptions {
  /** From `newDiskState`; the same for all threads that serve the mount. */
  readonly state: SharedArrayBuffer;
  /**
   * Whether the kernel keeps written pages back (writeback cache). While somebody may write it does
   * not tell us where they are, so then all of the disk counts as data.
   */
  readonly writebackCache: boolean;
  /** Whether the transport can open a file so that the kernel keeps no pages of it. */
  readonly hasUncachedFiles: boolean;
  /** Whether an open gets -EAGAIN instead of waiting for another thread, see `disk-views.ts`. */
  readonly neverWaits?: boolean;
  /** Told once for each distinct failure that the engine had. */
  readonly log: (message: string) => void;
}

/** Permissions of the files of a new tree. */
export function initialMode(device: BlockDevice): number {
  return device.readOnly ? 0o444 : 0o644;
}

export class DiskFileSystem implements FileSystem {
  readonly #device: BlockDevice;
  readonly #log: (message: string) => void;
  readonly #logged = new Set<string>();
  readonly #state: DiskState;
  readonly #slots: ViewState;
  readonly #views: DiskViews;
  readonly #usage: RangeUsage;
  readonly #writebackCache: boolean;

  constructor(device: BlockDevice, options: DiskFileSystemOptions) {
    this.#device = device;
    this.#log = options.log;
    this.#state = new DiskState(options.state);
    this.#slots = viewState(options.state);
    this.#views = new DiskViews(device, this.#slots, options);
    this.#usage = new RangeUsage(device);
    this.#writebackCache = options.writebackCache;
  }

  lookup(parent: number, name: string): number {
    if (parent !== ROOT_INODE) return -Errno.ENOTDIR;
    const slot = this.#views.find(name);
    return slot < 0 ? -Errno.ENOENT : this.#views.inodeOf(slot);
  }

  getattr(ino: number): Attributes | undefined {
    const isRoot = ino === ROOT_INODE;
    const slot = this.#slots.slotOf(ino);
    if (!isRoot && slot < 0) return undefined;
    const { created, gid, mode, mtime, uid } = this.#state;
    const time = isRoot ? created : mtime;
    return {
      ino: isRoot ? ROOT_INODE : DISK_INODE + this.#slots.numberOf(slot),
      mode: isRoot ? constants.S_IFDIR | 0o755 : constants.S_IFREG | mode,
      nlink: isRoot ? 2 : 1,
      uid,
      gid,
      size: isRoot ? 0 : this.#slots.sizeOf(slot),
      blocks: isRoot ? 0 : Math.ceil(this.#bytesInUse(slot) / BLOCK_BYTES),
      blksize: BLKSIZE,
      atime: time,
      mtime: time,
      ctime: time,
    };
  }

  setattr(ino: number, changes: AttributeChanges): number {
    const slot = this.#slots.slotOf(ino);
    if (slot < 0) return ino === ROOT_INODE ? -Errno.EPERM : -Errno.ENOENT;
    if (this.#device.readOnly) return -Errno.EROFS;
    if (changes.size !== undefined) {
      const refusal = refuseSize(changes.size, this.#slots.sizeOf(slot));
      if (refusal !== 0) return refusal;
    }
    if (changes.mode !== undefined) this.#state.mode = changes.mode & PERMISSIONS;
    this.#state.setOwner(changes.uid, changes.gid);
    if (changes.mtime !== undefined) this.#state.mtime = changes.mtime;
    return 0;
  }

  open(ino: number, flags: number, waited: number): number {
    const slot = this.#slots.slotOf(ino);
    if (slot < 0) return ino === ROOT_INODE ? -Errno.EISDIR : -Errno.ENOENT;
    const writes = mayWrite(flags);
    if (writes && this.#device.readOnly) return -Errno.EROFS;
    return this.#views.open(ino, slot, writes, waited);
  }

  release(ino: number, flags: number, caching: number): void {
    const slot = this.#slots.slotOf(ino);
    if (slot >= 0) this.#views.release(slot, mayWrite(flags), caching);
  }

  undoOpen(ino: number, flags: number, caching: number): void {
    const slot = this.#slots.slotOf(ino);
    if (slot >= 0) this.#views.undoOpen(slot, mayWrite(flags), caching);
  }

  read(ino: number, target: Uint8Array, length: number, offset: number): number {
    const slot = this.#slots.slotOf(ino);
    if (slot < 0) return -Errno.EISDIR;
    const count = Math.max(0, Math.min(length, this.#slots.sizeOf(slot) - offset));
    if (count === 0) return 0;
    try {
      this.#device.read(target, 0, count, this.#slots.startOf(slot) + offset);
      return count;
    } catch (error) {
      return this.#failed('read', error);
    }
  }

  write(ino: number, source: Uint8Array, length: number, offset: number): number {
    const slot = this.#slots.slotOf(ino);
    if (slot < 0) return -Errno.EISDIR;
    if (length === 0) return 0;
    const count = Math.min(length, this.#slots.sizeOf(slot) - offset);
    const isCut = count < length && this.#writebackCache;
    if (isCut) this.#slots.wrotePastEnd(slot);
    if (count <= 0) return -Errno.ENOSPC;
    const start = this.#slots.startOf(slot) + offset;
    try {
      this.#device.write(source, 0, count, start);
      this.#state.mtime = Date.now();
      // The kernel drops what a short write leaves over, and tells nobody.
      return isCut ? -Errno.ENOSPC : count;
    } catch (error) {
      return this.#failed('write', error);
    } finally {
      this.#slots.wrote(start, start + count);
    }
  }

  fsync(ino: number): number {
    if (this.#slots.slotOf(ino) < 0) return 0;
    try {
      this.#device.flush();
      return 0;
    } catch (error) {
      return this.#failed('flush', error);
    }
  }

  /**
   * Punching a hole and zeroing a range; both give space back where that is possible. Preallocating
   * is refused as block devices do: nobody can promise space that the host may run out of.
   */
  fallocate(ino: number, mode: number, offset: number, length: number): number {
    const slot = this.#slots.slotOf(ino);
    if (slot < 0) return -Errno.EISDIR;
    if (this.#device.readOnly) return -Errno.EROFS;
    const action = mode & ~FALLOC_FL_KEEP_SIZE;
    if (action !== FALLOC_FL_PUNCH_HOLE && action !== FALLOC_FL_ZERO_RANGE) {
      return -Errno.EOPNOTSUPP;
    }
    const keepsSize = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
    const size = this.#slots.sizeOf(slot);
    if (!keepsSize && offset + length > size) return -Errno.EFBIG;
    const count = Math.min(length, size - offset);
    if (count <= 0) return 0;
    const start = this.#slots.startOf(slot) + offset;
    try {
      this.#device.zero(start, count);
      this.#state.mtime = Date.now();
      return 0;
    } catch (error) {
      return this.#failed('zero', error);
    } finally {
      this.#slots.wrote(start, start + count);
    }
  }

  lseek(ino: number, offset: number, whence: number): number {
    const slot = this.#slots.slotOf(ino);
    if (slot < 0 || (whence !== SEEK_DATA && whence !== SEEK_HOLE)) return -Errno.EINVAL;
    const size = this.#slots.sizeOf(slot);
    if (offset >= size) return -Errno.ENXIO;
    if (this.#hidesPages(slot)) return whence === SEEK_DATA ? offset : size;
    const start = this.#slots.startOf(slot);
    try {
      if (whence === SEEK_HOLE) return this.#device.nextHole(start + offset, start + size) - start;
      const data = this.#device.nextData(start + offset, start + size) - start;
      return data < size ? data : -Errno.ENXIO;
    } catch (error) {
      return this.#failed('seek', error);
    }
  }

  readdir(ino: number): readonly string[] | undefined {
    return ino === ROOT_INODE ? ['.', '..', ...this.#views.names()] : undefined;
  }

  statfs(): FileSystemStatistics {
    const { size } = this.#device;
    // libfuse 2 through fuse-native has 32 bits for a count of blocks.
    let bsize = STATFS_BSIZE;
    while (size / bsize >= 2 ** 32) bsize *= 2;
    const blocks = Math.ceil(size / bsize);
    const used = Math.ceil(this.#device.allocatedBytes() / bsize);
    return { bsize, blocks, bfree: blocks - used, files: 2, namemax: 255 };
  }

  #hidesPages(slot: number): boolean {
    return this.#writebackCache && this.#slots.writersOf(slot) > 0;
  }

  #bytesInUse(slot: number): number {
    const size = this.#slots.sizeOf(slot);
    if (this.#hidesPages(slot)) return size;
    if (slot === DISK_SLOT) return this.#device.allocatedBytes();
    return this.#usage.bytesIn(this.#slots.startOf(slot), size, this.#state.mtime);
  }

  #failed(operation: string, error: unknown): number {
    const message = `${operation}: ${describeError(error)}`;
    if (isTold(error)) return toErrno(error);
    if (this.#logged.size < LOGGED_MAX && !this.#logged.has(message)) {
      this.#logged.add(message);
      this.#log(message);
    }
    return toErrno(error);
  }
}

/** 0, or why a file of `size` bytes cannot be made `wanted` bytes long. */
function refuseSize(wanted: number, size: number): number {
  if (wanted === 0 || wanted === size) return 0;
  return wanted < size ? -Errno.EPERM : -Errno.EFBIG;
}
