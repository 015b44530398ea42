/**
 * The mounted tree: a directory with one file, `disk.raw`, which behaves like a block device that
 * is a file. Its size is fixed: O_TRUNC (which arrives as a truncation to 0) is ignored as block
 * devices do, so that `cp image disk.raw` works; any other change of size fails, writes past the
 * end get ENOSPC and reads past it are short. Permissions, owner and time can be set so that
 * `cp -p` and `rsync -t` succeed; they last as long as the mount.
 *
 * Here exceptions of the engine become errnos; what the user of the mount cannot see from an EIO
 * goes to the log.
 */
import { constants } from 'node:fs';
import { Errno, describeError, toErrno } from '../errno.js';
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
  ROOT_INODE,
  type AttributeChanges,
  type Attributes,
  type FileSystem,
  type FileSystemStatistics,
} from '../fuse/file-system.js';
import { DiskState } from './disk-state.js';

const DISK_INODE = 2;
const DISK_NAME = 'disk.raw';
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
  /** Told once for each distinct failure that the engine had. */
  readonly log: (message: string) => void;
}

/** Permissions of `disk.raw` in a new tree. */
export function initialMode(device: BlockDevice): number {
  return device.readOnly ? 0o444 : 0o644;
}

export class DiskFileSystem implements FileSystem {
  readonly #device: BlockDevice;
  readonly #log: (message: string) => void;
  readonly #logged = new Set<string>();
  readonly #state: DiskState;
  readonly #writebackCache: boolean;

  constructor(device: BlockDevice, options: DiskFileSystemOptions) {
    this.#device = device;
    this.#log = options.log;
    this.#state = new DiskState(options.state);
    this.#writebackCache = options.writebackCache;
  }

  lookup(parent: number, name: string): number {
    if (parent !== ROOT_INODE) return -Errno.ENOTDIR;
    return name === DISK_NAME ? DISK_INODE : -Errno.ENOENT;
  }

  getattr(ino: number): Attributes | undefined {
    if (ino !== ROOT_INODE && ino !== DISK_INODE) return undefined;
    const isRoot = ino === ROOT_INODE;
    const { created, gid, mode, mtime, uid } = this.#state;
    const time = isRoot ? created : mtime;
    return {
      ino,
      mode: isRoot ? constants.S_IFDIR | 0o755 : constants.S_IFREG | mode,
      nlink: isRoot ? 2 : 1,
      uid,
      gid,
      size: isRoot ? 0 : this.#device.size,
      blocks: isRoot ? 0 : Math.ceil(this.#bytesInUse() / BLOCK_BYTES),
      blksize: BLKSIZE,
      atime: time,
      mtime: time,
      ctime: time,
    };
  }

  setattr(ino: number, changes: AttributeChanges): number {
    if (ino !== DISK_INODE) return ino === ROOT_INODE ? -Errno.EPERM : -Errno.ENOENT;
    if (this.#device.readOnly) return -Errno.EROFS;
    if (changes.size !== undefined) {
      const refusal = this.#refuseSize(changes.size);
      if (refusal !== 0) return refusal;
    }
    if (changes.mode !== undefined) this.#state.mode = changes.mode & PERMISSIONS;
    this.#state.setOwner(changes.uid, changes.gid);
    if (changes.mtime !== undefined) this.#state.mtime = changes.mtime;
    return 0;
  }

  #refuseSize(size: number): number {
    if (size === 0 || size === this.#device.size) return 0;
    return size < this.#device.size ? -Errno.EPERM : -Errno.EFBIG;
  }

  open(ino: number, flags: number): number {
    if (ino !== DISK_INODE) return ino === ROOT_INODE ? -Errno.EISDIR : -Errno.ENOENT;
    if (!mayWrite(flags)) return 0;
    if (this.#device.readOnly) return -Errno.EROFS;
    this.#state.addWriters(1);
    return 0;
  }

  release(ino: number, flags: number): void {
    if (ino === DISK_INODE && mayWrite(flags)) this.#state.addWriters(-1);
  }

  read(ino: number, target: Uint8Array, length: number, offset: number): number {
    if (ino !== DISK_INODE) return -Errno.EISDIR;
    const count = Math.max(0, Math.min(length, this.#device.size - offset));
    if (count === 0) return 0;
    try {
      this.#device.read(target, 0, count, offset);
      return count;
    } catch (error) {
      return this.#failed('read', error);
    }
  }

  write(ino: number, source: Uint8Array, length: number, offset: number): number {
    if (ino !== DISK_INODE) return -Errno.EISDIR;
    if (length === 0) return 0;
    const count = Math.min(length, this.#device.size - offset);
    if (count <= 0) return -Errno.ENOSPC;
    try {
      this.#device.write(source, 0, count, offset);
      this.#state.mtime = Date.now();
      return count;
    } catch (error) {
      return this.#failed('write', error);
    }
  }

  fsync(ino: number): number {
    if (ino !== DISK_INODE) return 0;
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
    if (ino !== DISK_INODE) return -Errno.EISDIR;
    if (this.#device.readOnly) return -Errno.EROFS;
    const action = mode & ~FALLOC_FL_KEEP_SIZE;
    if (action !== FALLOC_FL_PUNCH_HOLE && action !== FALLOC_FL_ZERO_RANGE) {
      return -Errno.EOPNOTSUPP;
    }
    const keepsSize = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
    if (!keepsSize && offset + length > this.#device.size) return -Errno.EFBIG;
    const count = Math.min(length, this.#device.size - offset);
    if (count <= 0) return 0;
    try {
      this.#device.zero(offset, count);
      this.#state.mtime = Date.now();
      return 0;
    } catch (error) {
      return this.#failed('zero', error);
    }
  }

  lseek(ino: number, offset: number, whence: number): number {
    if (ino !== DISK_INODE || (whence !== SEEK_DATA && whence !== SEEK_HOLE)) return -Errno.EINVAL;
    const { size } = this.#device;
    if (offset >= size) return -Errno.ENXIO;
    if (this.#hidesPages()) return whence === SEEK_DATA ? offset : size;
    try {
      if (whence === SEEK_HOLE) return this.#device.nextHole(offset, size);
      const data = this.#device.nextData(offset, size);
      return data < size ? data : -Errno.ENXIO;
    } catch (error) {
      return this.#failed('seek', error);
    }
  }

  readdir(ino: number): readonly string[] | undefined {
    return ino === ROOT_INODE ? ['.', '..', DISK_NAME] : undefined;
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

  #hidesPages(): boolean {
    return this.#writebackCache && this.#state.hasWriters;
  }

  #bytesInUse(): number {
    return this.#hidesPages() ? this.#device.size : this.#device.allocatedBytes();
  }

  #failed(operation: string, error: unknown): number {
    const message = `${operation}: ${describeError(error)}`;
    if (this.#logged.size < LOGGED_MAX && !this.#logged.has(message)) {
      this.#logged.add(message);
      this.#log(message);
    }
    return toErrno(error);
  }
}
