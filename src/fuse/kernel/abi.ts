/**
 * The structs of the FUSE protocol that we speak, as in the kernel's `include/uapi/linux/fuse.h`,
 * version 7.40. Names of fields are the header's; `since(n, ...)` marks what appeared in 7.n. What
 * is older than 7.27 (Linux 4.18, the oldest that Node 20 runs on) is not marked. Times are u64 in the
 * header and signed in truth: seconds before 1970 are negative.
 */
import { bytes, i64, since, struct, u16, u32, u64 } from '../../binary/struct.js';

/** Major and minor version that we speak. */
export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 40;

/** The oldest minor version that we speak: Linux 4.18. */
export const FUSE_KERNEL_MINOR_MIN = 27;

export const InHeader = struct('fuse_in_header', 40, {
  len: u32,
  opcode: u32,
  unique: u64,
  nodeid: u64,
  uid: u32,
  gid: u32,
  pid: u32,
  // Padding before.
  total_extlen: since(38, u16),
  padding: u16,
});

export const OutHeader = struct('fuse_out_header', 16, { len: u32, error: u32, unique: u64 });

/** Where what an operation answers begins in a reply. */
export const PAYLOAD = OutHeader.byteLength;

export const InitIn = struct('fuse_init_in', 64, {
  major: u32,
  minor: u32,
  max_readahead: u32,
  flags: u32,
  flags2: since(36, u32),
  unused: since(36, bytes(44)),
});

export const InitOut = struct('fuse_init_out', 64, {
  major: u32,
  minor: u32,
  max_readahead: u32,
  flags: u32,
  max_background: u16,
  congestion_threshold: u16,
  max_write: u32,
  time_gran: u32,
  // The struct has had its size since 7.23; what appeared later was unused and zero before.
  max_pages: since(28, u16),
  map_alignment: since(31, u16),
  flags2: since(36, u32),
  max_stack_depth: since(40, u32),
  unused: bytes(24),
});

const attributes = {
  ino: u64,
  size: u64,
  blocks: u64,
  atime: i64,
  mtime: i64,
  ctime: i64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  blksize: u32,
  // Padding before.
  flags: since(32, u32),
};

export const Attr = struct('fuse_attr', 88, attributes);

export const EntryOut = struct('fuse_entry_out', 128, {
  nodeid: u64,
  generation: u64,
  entry_valid: u64,
  attr_valid: u64,
  entry_valid_nsec: u32,
  attr_valid_nsec: u32,
  attr: bytes(88),
});

export const GetattrIn = struct('fuse_getattr_in', 16, {
  getattr_flags: u32,
  dummy: u32,
  fh: u64,
});

export const AttrOut = struct('fuse_attr_out', 104, {
  attr_valid: u64,
  attr_valid_nsec: u32,
  dummy: u32,
  attr: bytes(88),
});

export const SetattrIn = struct('fuse_setattr_in', 88, {
  valid: u32,
  padding: u32,
  fh: u64,
  size: u64,
  lock_owner: u64,
  atime: i64,
  mtime: i64,
  ctime: i64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  unused4: u32,
  uid: u32,
  gid: u32,
  unused5: u32,
});

export const OpenIn = struct('fuse_open_in', 8, {
  flags: u32,
  // Unused and zero before.
  open_flags: since(32, u32),
});

export const OpenOut = struct('fuse_open_out', 16, {
  fh: u64,
  open_flags: u32,
  // Padding before.
  backing_id: since(40, u32),
});

export const ReleaseIn = struct('fuse_release_in', 24, {
  fh: u64,
  flags: u32,
  release_flags: u32,
  lock_owner: u64,
});

export const ReadIn = struct('fuse_read_in', 40, {
  fh: u64,
  offset: u64,
  size: u32,
  read_flags: u32,
  lock_owner: u64,
  flags: u32,
  padding: u32,
});

export const WriteIn = struct('fuse_write_in', 40, {
  fh: u64,
  offset: u64,
  size: u32,
  write_flags: u32,
  lock_owner: u64,
  flags: u32,
  padding: u32,
});

export const WriteOut = struct('fuse_write_out', 8, { size: u32, padding: u32 });

export const FlushIn = struct('fuse_flush_in', 24, {
  fh: u64,
  unused: u32,
  padding: u32,
  lock_owner: u64,
});

export const FsyncIn = struct('fuse_fsync_in', 16, { fh: u64, fsync_flags: u32, padding: u32 });

export const FallocateIn = struct('fuse_fallocate_in', 32, {
  fh: u64,
  offset: u64,
  length: u64,
  mode: u32,
  padding: u32,
});

export const LseekIn = struct('fuse_lseek_in', 24, {
  fh: u64,
  offset: u64,
  whence: u32,
  padding: u32,
});

export const LseekOut = struct('fuse_lseek_out', 8, { offset: u64 });

export const StatfsOut = struct('fuse_statfs_out', 80, {
  blocks: u64,
  bfree: u64,
  bavail: u64,
  files: u64,
  ffree: u64,
  bsize: u32,
  namelen: u32,
  frsize: u32,
  padding: u32,
  spare: bytes(24),
});

/** A directory entry without its name, which follows and is padded to 8 bytes. */
export const Dirent = struct('fuse_dirent', 24, { ino: u64, off: u64, namelen: u32, type: u32 });
