/**
 * The contract between a transport and the mounted tree, shaped like the kernel's own: inodes, byte
 * ranges, and results that are a count or a negative errno, never an exception for what is
 * expected. All calls are synchronous. The tree is fixed: names are neither made nor removed.
 */

/** Inode of the root directory (FUSE_ROOT_ID). */
export const ROOT_INODE = 1;

/** What GETATTR tells; sizes in bytes, `blocks` of 512 bytes, times in milliseconds since 1970. */
export interface Attributes {
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

  /** 0 when the inode may be opened with `flags` (O_*), or a negative errno. */
  open(ino: number, flags: number): number;

  /** The last handle of one `open` with `flags` is closed. */
  release(ino: number, flags: number): void;

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
