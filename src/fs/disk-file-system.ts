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
import type { BlockDevice } from '../block/block-device.js';
import {
  ROOT_INODE,
  type AttributeChanges,
  type Attributes,
  type FileSystem,
  type FileSystemStatistics,
} from '../fuse/file-system.js';

const DISK_INODE = 2;
const DISK_NAME = 'disk.raw';
const BLOCK_BYTES = 512;
/** Preferred request size: a grain. */
const BLKSIZE = 64 * 1024;
const STATFS_BSIZE = 4096;
/** Distinct failures that are logged; a broken disk must not fill a log. */
const LOGGED_MAX = 100;
const PERMISSIONS = 0o777;

/** What the tree shows besides the disk's bytes. */
export interface DiskFileSystemOptions {
  readonly uid: number;
  readonly gid: number;
  /** Modification time of the image, milliseconds since 1970. */
  readonly mtime: number;
  /** Told once for each distinct failure that the engine had. */
  readonly log: (message: string) => void;
}

export class DiskFileSystem implements FileSystem {
  readonly #device: BlockDevice;
  readonly #log: (message: string) => void;
  readonly #logged = new Set<string>();
  readonly #created: number;
  #uid: number;
  #gid: number;
  #mode: number;
  #mtime: number;

  constructor(device: BlockDevice, options: DiskFileSystemOptions) {
    this.#device = device;
    this.#log = options.log;
    this.#uid = options.uid;
    this.#gid = options.gid;
    this.#mtime = options.mtime;
    this.#created = options.mtime;
    this.#mode = device.readOnly ? 0o444 : 0o644;
  }

  lookup(parent: number, name: string): number {
    if (parent !== ROOT_INODE) return -Errno.ENOTDIR;
    return name === DISK_NAME ? DISK_INODE : -Errno.ENOENT;
  }

  getattr(ino: number): Attributes | undefined {
    if (ino !== ROOT_INODE && ino !== DISK_INODE) return undefined;
    const isRoot = ino === ROOT_INODE;
    return {
      ino,
      mode: isRoot ? constants.S_IFDIR | 0o755 : constants.S_IFREG | this.#mode,
      nlink: isRoot ? 2 : 1,
      uid: this.#uid,
      gid: this.#gid,
      size: isRoot ? 0 : this.#device.size,
      blocks: isRoot ? 0 : Math.ceil(this.#device.allocatedBytes() / BLOCK_BYTES),
      blksize: BLKSIZE,
      atime: isRoot ? this.#created : this.#mtime,
      mtime: isRoot ? this.#created : this.#mtime,
      ctime: isRoot ? this.#created : this.#mtime,
    };
  }

  setattr(ino: number, changes: AttributeChanges): number {
    if (ino !== DISK_INODE) return ino === ROOT_INODE ? -Errno.EPERM : -Errno.ENOENT;
    if (this.#device.readOnly) return -Errno.EROFS;
    if (changes.size !== undefined) {
      const refusal = this.#refuseSize(changes.size);
      if (refusal !== 0) return refusal;
    }
    if (changes.mode !== undefined) this.#mode = changes.mode & PERMISSIONS;
    if (changes.uid !== undefined) this.#uid = changes.uid;
    if (changes.gid !== undefined) this.#gid = changes.gid;
    if (changes.mtime !== undefined) this.#mtime = changes.mtime;
    return 0;
  }

  #refuseSize(size: number): number {
    if (size === 0 || size === this.#device.size) return 0;
    return size < this.#device.size ? -Errno.EPERM : -Errno.EFBIG;
  }

  open(ino: number, flags: number): number {
    if (ino !== DISK_INODE) return ino === ROOT_INODE ? -Errno.EISDIR : -Errno.ENOENT;
    const access = flags & (constants.O_WRONLY | constants.O_RDWR);
    return access !== 0 && this.#device.readOnly ? -Errno.EROFS : 0;
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
      this.#mtime = Date.now();
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

  #failed(operation: string, error: unknown): number {
    const message = `${operation}: ${describeError(error)}`;
    if (this.#logged.size < LOGGED_MAX && !this.#logged.has(message)) {
      this.#logged.add(message);
      this.#log(message);
    }
    return toErrno(error);
  }
}
