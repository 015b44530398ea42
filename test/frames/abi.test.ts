import { describe, expect, test } from 'vitest';
import * as abi from '../../src/fuse/kernel/abi.js';

type Field = readonly [name: string, offset: number, size: number];

interface Layout {
  /** The struct's name in the header. */
  readonly name: string;
  readonly size: number;
  readonly fields: readonly Field[];
}

/**
 * The structs as a C compiler lays out `<linux/fuse.h>` of version 7.38 (offsetof and sizeof), with
 * what 7.40 has where 7.38 has padding: backing_id and max_stack_depth.
 */
const LAYOUTS: Record<string, Layout> = {
  InHeader: {
    name: 'fuse_in_header',
    size: 40,
    fields: [
      ['len', 0, 4],
      ['opcode', 4, 4],
      ['unique', 8, 8],
      ['nodeid', 16, 8],
      ['uid', 24, 4],
      ['gid', 28, 4],
      ['pid', 32, 4],
      ['total_extlen', 36, 2],
      ['padding', 38, 2],
    ],
  },
  OutHeader: {
    name: 'fuse_out_header',
    size: 16,
    fields: [
      ['len', 0, 4],
      ['error', 4, 4],
      ['unique', 8, 8],
    ],
  },
  InitIn: {
    name: 'fuse_init_in',
    size: 64,
    fields: [
      ['major', 0, 4],
      ['minor', 4, 4],
      ['max_readahead', 8, 4],
      ['flags', 12, 4],
      ['flags2', 16, 4],
      ['unused', 20, 44],
    ],
  },
  InitOut: {
    name: 'fuse_init_out',
    size: 64,
    fields: [
      ['major', 0, 4],
      ['minor', 4, 4],
      ['max_readahead', 8, 4],
      ['flags', 12, 4],
      ['max_background', 16, 2],
      ['congestion_threshold', 18, 2],
      ['max_write', 20, 4],
      ['time_gran', 24, 4],
      ['max_pages', 28, 2],
      ['map_alignment', 30, 2],
      ['flags2', 32, 4],
      ['max_stack_depth', 36, 4],
      ['unused', 40, 24],
    ],
  },
  Attr: {
    name: 'fuse_attr',
    size: 88,
    fields: [
      ['ino', 0, 8],
      ['size', 8, 8],
      ['blocks', 16, 8],
      ['atime', 24, 8],
      ['mtime', 32, 8],
      ['ctime', 40, 8],
      ['atimensec', 48, 4],
      ['mtimensec', 52, 4],
      ['ctimensec', 56, 4],
      ['mode', 60, 4],
      ['nlink', 64, 4],
      ['uid', 68, 4],
      ['gid', 72, 4],
      ['rdev', 76, 4],
      ['blksize', 80, 4],
      ['flags', 84, 4],
    ],
  },
  EntryOut: {
    name: 'fuse_entry_out',
    size: 128,
    fields: [
      ['nodeid', 0, 8],
      ['generation', 8, 8],
      ['entry_valid', 16, 8],
      ['attr_valid', 24, 8],
      ['entry_valid_nsec', 32, 4],
      ['attr_valid_nsec', 36, 4],
      ['attr', 40, 88],
    ],
  },
  GetattrIn: {
    name: 'fuse_getattr_in',
    size: 16,
    fields: [
      ['getattr_flags', 0, 4],
      ['dummy', 4, 4],
      ['fh', 8, 8],
    ],
  },
  AttrOut: {
    name: 'fuse_attr_out',
    size: 104,
    fields: [
      ['attr_valid', 0, 8],
      ['attr_valid_nsec', 8, 4],
      ['dummy', 12, 4],
      ['attr', 16, 88],
    ],
  },
  SetattrIn: {
    name: 'fuse_setattr_in',
    size: 88,
    fields: [
      ['valid', 0, 4],
      ['padding', 4, 4],
      ['fh', 8, 8],
      ['size', 16, 8],
      ['lock_owner', 24, 8],
      ['atime', 32, 8],
      ['mtime', 40, 8],
      ['ctime', 48, 8],
      ['atimensec', 56, 4],
      ['mtimensec', 60, 4],
      ['ctimensec', 64, 4],
      ['mode', 68, 4],
      ['unused4', 72, 4],
      ['uid', 76, 4],
      ['gid', 80, 4],
      ['unused5', 84, 4],
    ],
  },
  OpenIn: {
    name: 'fuse_open_in',
    size: 8,
    fields: [
      ['flags', 0, 4],
      ['open_flags', 4, 4],
    ],
  },
  OpenOut: {
    name: 'fuse_open_out',
    size: 16,
    fields: [
      ['fh', 0, 8],
      ['open_flags', 8, 4],
      ['backing_id', 12, 4],
    ],
  },
  ReleaseIn: {
    name: 'fuse_release_in',
    size: 24,
    fields: [
      ['fh', 0, 8],
      ['flags', 8, 4],
      ['release_flags', 12, 4],
      ['lock_owner', 16, 8],
    ],
  },
  ReadIn: {
    name: 'fuse_read_in',
    size: 40,
    fields: [
      ['fh', 0, 8],
      ['offset', 8, 8],
      ['size', 16, 4],
      ['read_flags', 20, 4],
      ['lock_owner', 24, 8],
      ['flags', 32, 4],
      ['padding', 36, 4],
    ],
  },
  WriteIn: {
    name: 'fuse_write_in',
    size: 40,
    fields: [
      ['fh', 0, 8],
      ['offset', 8, 8],
      ['size', 16, 4],
      ['write_flags', 20, 4],
      ['lock_owner', 24, 8],
      ['flags', 32, 4],
      ['padding', 36, 4],
    ],
  },
  WriteOut: {
    name: 'fuse_write_out',
    size: 8,
    fields: [
      ['size', 0, 4],
      ['padding', 4, 4],
    ],
  },
  FlushIn: {
    name: 'fuse_flush_in',
    size: 24,
    fields: [
      ['fh', 0, 8],
      ['unused', 8, 4],
      ['padding', 12, 4],
      ['lock_owner', 16, 8],
    ],
  },
  FsyncIn: {
    name: 'fuse_fsync_in',
    size: 16,
    fields: [
      ['fh', 0, 8],
      ['fsync_flags', 8, 4],
      ['padding', 12, 4],
    ],
  },
  FallocateIn: {
    name: 'fuse_fallocate_in',
    size: 32,
    fields: [
      ['fh', 0, 8],
      ['offset', 8, 8],
      ['length', 16, 8],
      ['mode', 24, 4],
      ['padding', 28, 4],
    ],
  },
  LseekIn: {
    name: 'fuse_lseek_in',
    size: 24,
    fields: [
      ['fh', 0, 8],
      ['offset', 8, 8],
      ['whence', 16, 4],
      ['padding', 20, 4],
    ],
  },
  LseekOut: {
    name: 'fuse_lseek_out',
    size: 8,
    fields: [['offset', 0, 8]],
  },
  StatfsOut: {
    name: 'fuse_statfs_out',
    size: 80,
    fields: [
      ['blocks', 0, 8],
      ['bfree', 8, 8],
      ['bavail', 16, 8],
      ['files', 24, 8],
      ['ffree', 32, 8],
      ['bsize', 40, 4],
      ['namelen', 44, 4],
      ['frsize', 48, 4],
      ['padding', 52, 4],
      ['spare', 56, 24],
    ],
  },
  Dirent: {
    name: 'fuse_dirent',
    size: 24,
    fields: [
      ['ino', 0, 8],
      ['off', 8, 8],
      ['namelen', 16, 4],
      ['type', 20, 4],
    ],
  },
};

interface Accessor {
  readonly offset: number;
  readonly size?: number;
  readonly set?: (view: DataView, base: number, value: number) => void;
}

/** What of a struct of 256 bytes is the field: what setting it to 0 changes. */
function placeOf({ offset, set, size }: Accessor): { offset: number; size: number } {
  if (set === undefined) return { offset, size: size ?? -1 };
  const bytes = new Uint8Array(256).fill(0xff);
  set(new DataView(bytes.buffer), 0, 0);
  const changed = [...bytes.keys()].filter((index) => bytes[index] !== 0xff);
  return { offset: changed[0] ?? -1, size: changed.length };
}

function structNamed(name: string): Record<string, Accessor> & { byteLength: number } {
  return (abi as unknown as Record<string, Record<string, Accessor> & { byteLength: number }>)[
    name
  ]!;
}

describe('the structs', () => {
  test.each(Object.entries(LAYOUTS))('%s is laid out as in the header', (key, layout) => {
    const { byteLength, ...fields } = structNamed(key);
    expect(byteLength).toBe(layout.size);
    const found = Object.entries(fields).map(([name, accessor]) => {
      const { offset, size } = placeOf(accessor);
      expect(accessor.offset).toBe(offset);
      return [name, offset, size];
    });
    expect(found).toEqual(layout.fields);
  });

  test('are all of them known here', () => {
    const structs = Object.entries(abi)
      .filter(([, value]) => typeof value === 'object')
      .map(([name]) => name);
    expect(structs.sort()).toEqual(Object.keys(LAYOUTS).sort());
  });

  test.each(['atime', 'mtime', 'ctime'] as const)('have %s signed', (field) => {
    const view = new DataView(new Uint8Array(88).fill(0xff).buffer);
    expect(abi.Attr[field].get(view, 0)).toBe(-1);
    expect(abi.SetattrIn[field].get(view, 0)).toBe(-1);
  });

  test.each([
    ['InHeader', 'total_extlen', 38],
    ['InitIn', 'flags2', 36],
    ['InitOut', 'max_pages', 28],
    ['InitOut', 'map_alignment', 31],
    ['InitOut', 'flags2', 36],
    ['InitOut', 'max_stack_depth', 40],
    ['Attr', 'flags', 32],
    ['OpenIn', 'open_flags', 32],
    ['OpenOut', 'backing_id', 40],
    ['ReadIn', 'offset', 0],
  ])('%s has %s since 7.%i, as the header tells', (struct, field, version) => {
    expect(structNamed(struct)[field]).toHaveProperty('since', version);
  });

  test('are those of version 7.40, spoken from 7.27 on', () => {
    expect(abi.FUSE_KERNEL_VERSION).toBe(7);
    expect(abi.FUSE_KERNEL_MINOR_VERSION).toBe(40);
    expect(abi.FUSE_KERNEL_MINOR_MIN).toBe(27);
    expect(abi.PAYLOAD).toBe(16);
  });
});
