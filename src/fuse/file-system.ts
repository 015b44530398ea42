/**
 * The contract between a transport and the mounted tree, shaped like the kernel's own: inodes, byte
 * ranges, and results that are a count or a negative errno, never an exception for what is
 * expected. All calls are synchronous. Users neither make names nor remove them; partitions come and
 * go with the partition table, the disk itself stays.
 */

/** Inode of the root directory (FUSE_ROOT_ID). */
export const ROOT_INODE = 1;

/** Inode of the whole disk, whose name never goes. */
export const DISK_INODE = 2;

/** What the kernel may do with the pages it has of a file; what an `open` that succeeds returns. */
export const Caching = {
  /** Use them: nothing has changed them since. */
  KEEP: 0,
  /** Drop them, and keep new ones. */
  DROP: 1,
  /** Neither use nor keep any. */
  NONE: 2,
} as const;

/** What GETATTR tells; sizes in bytes, `blocks` of 512 bytes, times in milliseconds since 1970. */
export interface Attributes {
  /** What users see as the number of the file: the same for a partition number as long as the mount. */
  readonly ino: number;
  /** File type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly blocks: number;
  readonly blksize: number;
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
}

/** What SETATTR asks for; absent members stay. */
export interface AttributeChanges {
  readonly size?: number;
  /** Permissions. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
}

/** What STATFS tells; `blocks` and `bfree` in units of `bsize` bytes. */
export interface FileSystemStatistics {
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly files: number;
  readonly namemax: number;
}

export interface FileSystem {
  /** The inode of `name` in the directory `parent`, or -ENOENT, -ENOTDIR. */
  lookup(parent: number, name: string): number;

  /** Undefined for an inode that does not exist. */
  getattr(ino: number): Attributes | undefined;

  /** 0, or a negative errno with nothing changed. */
  setattr(ino: number, changes: AttributeChanges): number;

  /**
   * A `Caching` when the inode may be opened with `flags` (O_*), or a negative errno: -ETXTBSY where
   * another file that shows the same bytes is open in a way that does not go together, -EAGAIN
   * where it is worth asking again soon, because a close may be on its way.
   *
   * @param waited milliseconds since this was asked first
   */
  open(ino: number, flags: number, waited: number): number;

  /** The last handle of one `open` with `flags`, which returned `caching`, is closed. */
  release(ino: number, flags: number, caching: number): void;

  /** Nobody got to know of an `open` that succeeded. */
  undoOpen(ino: number, flags: number, caching: number): void;

  /** Fills `target` from `offset` of the file; the count is short only at the end of the file. */
  read(ino: number, target: Uint8Array, length: number, offset: number): number;

  /** The count is short only at the end of the file; -ENOSPC past it. */
  write(ino: number, source: Uint8Array, length: number, offset: number): number;

  /** Makes durable what was written before; 0 or a negative errno. */
  fsync(ino: number): number;

  /** fallocate(2) with `mode` (FALLOC_FL_*): 0, or a negative errno. */
  fallocate(ino: number, mode: number, offset: number, length: number): number;

  /** lseek(2) with SEEK_DATA or SEEK_HOLE: the offset found, or a negative errno. */
  lseek(ino: number, offset: number, whence: number): number;

  /** The names in a directory, or undefined for an inode that is none. */
  readdir(ino: number): readonly string[] | undefined;

  statfs(): FileSystemStatistics;
}
