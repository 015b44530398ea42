import { describe, expect, test } from 'vitest';
import * as numbers from '../../src/fuse/kernel/opcodes.js';

describe('numbers', () => {
  test("of opcodes are the header's", () => {
    expect(numbers.Opcode).toEqual({
      LOOKUP: 1,
      FORGET: 2,
      GETATTR: 3,
      SETATTR: 4,
      SYMLINK: 6,
      MKNOD: 8,
      MKDIR: 9,
      UNLINK: 10,
      RMDIR: 11,
      RENAME: 12,
      LINK: 13,
      OPEN: 14,
      READ: 15,
      WRITE: 16,
      STATFS: 17,
      RELEASE: 18,
      FSYNC: 20,
      FLUSH: 25,
      INIT: 26,
      OPENDIR: 27,
      READDIR: 28,
      RELEASEDIR: 29,
      FSYNCDIR: 30,
      ACCESS: 34,
      CREATE: 35,
      INTERRUPT: 36,
      DESTROY: 38,
      BATCH_FORGET: 42,
      FALLOCATE: 43,
      READDIRPLUS: 44,
      RENAME2: 45,
      LSEEK: 46,
    });
  });

  test("of flags are the header's", () => {
    expect(numbers.InitFlag).toEqual({
      ASYNC_READ: 0x1,
      BIG_WRITES: 0x20,
      DO_READDIRPLUS: 0x2000,
      READDIRPLUS_AUTO: 0x4000,
      ASYNC_DIO: 0x8000,
      WRITEBACK_CACHE: 0x10000,
      PARALLEL_DIROPS: 0x40000,
      MAX_PAGES: 0x400000,
      INIT_EXT: 0x40000000,
    });
    // 1 << 37 in the header: bits 32 and up are in flags2.
    expect(numbers.InitFlag2).toEqual({ PASSTHROUGH: 0x20 });
    expect(numbers.OpenFlag).toEqual({
      DIRECT_IO: 0x1,
      KEEP_CACHE: 0x2,
      NOFLUSH: 0x20,
      PASSTHROUGH: 0x80,
    });
    expect(numbers.SetattrValid).toEqual({
      MODE: 0x1,
      UID: 0x2,
      GID: 0x4,
      SIZE: 0x8,
      MTIME: 0x20,
      MTIME_NOW: 0x100,
    });
  });
});
