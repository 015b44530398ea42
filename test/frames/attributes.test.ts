import { describe, expect, test } from 'vitest';
import { DISK_ATTRIBUTE_BYTES, FakeFileSystem } from '../helpers/fake-file-system.js';
import {
  ascii,
  exchangeOver,
  exchangeOverDisk,
  failed,
  frame,
  littleEndian,
  numberAt,
} from '../helpers/frames.js';

const LOOKUP = [
  ...[0x31, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00], // len, opcode (LOOKUP)
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // nodeid
  ...[0x0d, 0xd0, 0x01, 0xc0, 0xfe, 0xca, 0x01, 0xc0], // uid, gid
  ...[0x5e, 0xba, 0xde, 0xc0, 0x00, 0x00, 0x00, 0x00], // pid, total_extlen, padding
  ...[0x64, 0x69, 0x73, 0x6b, 0x2e, 0x72, 0x61, 0x77], // name
  ...[0x00], // name
];

const ENTRY_OUT = [
  ...[0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // len, error
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // nodeid
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // generation
  ...[0x10, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // entry_valid, seconds
  ...[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // attr_valid, seconds
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // entry_valid_nsec, attr_valid_nsec
  ...DISK_ATTRIBUTE_BYTES, // attr
];

const GETATTR = [
  ...[0x38, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00], // len, opcode (GETATTR)
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // nodeid
  ...[0x0d, 0xd0, 0x01, 0xc0, 0xfe, 0xca, 0x01, 0xc0], // uid, gid
  ...[0x5e, 0xba, 0xde, 0xc0, 0x00, 0x00, 0x00, 0x00], // pid, total_extlen, padding
  ...[0x01, 0x00, 0x00, 0x00, 0xb4, 0xb3, 0xb2, 0xb1], // getattr_flags, dummy
  ...[0x0d, 0xf0, 0xfe, 0xca, 0xce, 0xfa, 0xed, 0xfe], // fh
];

const ATTR_OUT = [
  ...[0x78, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // len, error
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // attr_valid, seconds
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // attr_valid_nsec, dummy
  ...DISK_ATTRIBUTE_BYTES, // attr
];

const SETATTR = [
  ...[0x80, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00], // len, opcode (SETATTR)
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // nodeid
  ...[0x0d, 0xd0, 0x01, 0xc0, 0xfe, 0xca, 0x01, 0xc0], // uid, gid
  ...[0x5e, 0xba, 0xde, 0xc0, 0x00, 0x00, 0x00, 0x00], // pid, total_extlen, padding
  ...[0x7f, 0x00, 0x00, 0x00, 0xb4, 0xb3, 0xb2, 0xb1], // valid (all but "now"), padding
  ...[0x0d, 0xf0, 0xfe, 0xca, 0xce, 0xfa, 0xed, 0xfe], // fh
  ...[0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x00], // size
  ...[0xa8, 0xa7, 0xa6, 0xa5, 0xa4, 0xa3, 0xa2, 0xa1], // lock_owner
  ...[0x78, 0x77, 0x76, 0x75, 0x74, 0x73, 0x72, 0x71], // atime
  ...[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // mtime (-2)
  ...[0x81, 0x80, 0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x7a], // ctime
  ...[0x14, 0x13, 0x12, 0x11, 0x00, 0x65, 0xcd, 0x1d], // atimensec, mtimensec (half a second)
  ...[0x24, 0x23, 0x22, 0x21, 0x80, 0x81, 0x00, 0x00], // ctimensec, mode
  ...[0x38, 0x37, 0x36, 0x35, 0x64, 0x63, 0x62, 0x61], // unused4, uid
  ...[0xe4, 0xe3, 0xe2, 0xe1, 0x48, 0x47, 0x46, 0x45], // gid, unused5
];

const STATFS = [
  ...[0x28, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00], // len, opcode (STATFS)
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // nodeid
  ...[0x0d, 0xd0, 0x01, 0xc0, 0xfe, 0xca, 0x01, 0xc0], // uid, gid
  ...[0x5e, 0xba, 0xde, 0xc0, 0x00, 0x00, 0x00, 0x00], // pid, total_extlen, padding
];

const STATFS_OUT = [
  ...[0x60, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // len, error
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 0x03, 0x00], // blocks
  ...[0x46, 0x45, 0x44, 0x43, 0x42, 0x41, 0x04, 0x00], // bfree
  ...[0x46, 0x45, 0x44, 0x43, 0x42, 0x41, 0x04, 0x00], // bavail
  ...[0x56, 0x55, 0x54, 0x53, 0x52, 0x51, 0x05, 0x00], // files
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // ffree
  ...[0x64, 0x63, 0x62, 0x61, 0x74, 0x73, 0x72, 0x71], // bsize, namelen
  ...[0x64, 0x63, 0x62, 0x61, 0x00, 0x00, 0x00, 0x00], // frsize, padding
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // spare
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // spare
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // spare
];

const UNKNOWN_INODE = 0x1122334455667788n;

/** A SETATTR of inode 2 with these bits in `valid`, and a modification time of 7.5 seconds. */
function setattr(
  valid: number,
  fields: { size?: bigint; nodeid?: bigint; mtimensec?: number } = {},
): number[] {
  const body = [
    ...littleEndian(valid, 16), // valid, padding, fh
    ...littleEndian(fields.size ?? 4096, 8), // size
    ...littleEndian(0, 16), // lock_owner, atime
    ...littleEndian(7, 8), // mtime
    ...littleEndian(0, 12), // ctime, atimensec
    ...littleEndian(fields.mtimensec ?? 500_000_000, 8), // mtimensec, ctimensec
    ...littleEndian(0o100600, 8), // mode, unused4
    ...littleEndian(11, 4), // uid
    ...littleEndian(12, 8), // gid, unused5
  ];
  return frame(4, body, { nodeid: fields.nodeid ?? 2 });
}

describe('LOOKUP', () => {
  test('answers disk.raw with its inode and attributes', () => {
    const fileSystem = new FakeFileSystem();
    expect(exchangeOver(fileSystem).ask(LOOKUP)).toEqual(ENTRY_OUT);
    expect(fileSystem.calls).toEqual([
      ['lookup', 1, 'disk.raw'],
      ['getattr', 2],
    ]);
  });

  test('hands on the refusal of a name', () => {
    const fileSystem = new FakeFileSystem();
    fileSystem.result = -2;
    expect(exchangeOver(fileSystem).ask(LOOKUP)).toEqual(failed('ENOENT'));
    expect(fileSystem.calls).toEqual([['lookup', 1, 'disk.raw']]);
  });

  test('decodes names as UTF-8, up to their NUL', () => {
    const fileSystem = new FakeFileSystem();
    const { ask } = exchangeOver(fileSystem);
    ask(frame(1, [...Buffer.from('\u00e4\u{1f4be}'), 0, 0x61, 0]));
    expect(fileSystem.calls[0]).toEqual(['lookup', 2, '\u00e4\u{1f4be}']);
  });

  test('does not find disk.raw by a name with a byte order mark before it', () => {
    const { ask } = exchangeOverDisk(65536);
    const name = [0xef, 0xbb, 0xbf, ...ascii('disk.raw\0')];
    const reply = ask(frame(1, name, { nodeid: 1 }));
    expect(reply.slice(0, 16)).toEqual(failed('ENOENT'));
  });

  test.each([
    ['another name', 1, 'disk.ra', 'ENOENT'],
    ['a longer name', 1, 'disk.raw2', 'ENOENT'],
    ['a name below disk.raw', 2, 'disk.raw', 'ENOTDIR'],
    ['a name below an unknown inode', UNKNOWN_INODE, 'disk.raw', 'ENOTDIR'],
  ] as const)('refuses %s', (_what, nodeid, name, errno) => {
    const { ask } = exchangeOverDisk(65536);
    expect(ask(frame(1, ascii(`${name}\0`), { nodeid }))).toEqual(failed(errno));
  });
});

describe('GETATTR', () => {
  test('answers with every attribute in its place', () => {
    const fileSystem = new FakeFileSystem();
    expect(exchangeOver(fileSystem).ask(GETATTR)).toEqual(ATTR_OUT);
    expect(fileSystem.calls).toEqual([['getattr', 2]]);
  });

  test('of the root shows a directory', () => {
    const reply = exchangeOverDisk(65536).ask(frame(3, littleEndian(0, 16), { nodeid: 1 }));
    expect(reply).toHaveLength(120);
    expect(numberAt(reply, 32, 8)).toBe(1); // ino
    expect(numberAt(reply, 92, 4)).toBe(0o040755); // mode
    expect(numberAt(reply, 96, 4)).toBe(2); // nlink
  });

  test('of disk.raw shows the size and owner of the disk', () => {
    const reply = exchangeOverDisk(3 * 65536).ask(GETATTR);
    expect(numberAt(reply, 40, 8)).toBe(3 * 65536); // size
    expect(numberAt(reply, 48, 8)).toBe(0); // blocks
    expect(numberAt(reply, 64, 8)).toBe(5); // mtime
    expect(numberAt(reply, 92, 4)).toBe(0o100644); // mode
    expect(numberAt(reply, 100, 4)).toBe(3); // uid
    expect(numberAt(reply, 104, 4)).toBe(4); // gid
    expect(numberAt(reply, 112, 4)).toBe(65536); // blksize
  });

  test.each([0n, 3n, UNKNOWN_INODE, 2n ** 64n - 1n])('of inode %d is ENOENT', (nodeid) => {
    const { ask } = exchangeOverDisk(65536);
    expect(ask(frame(3, littleEndian(0, 16), { nodeid }))).toEqual(failed('ENOENT'));
  });
});

describe('SETATTR', () => {
  test('changes what it names and answers with the attributes as they are then', () => {
    const fileSystem = new FakeFileSystem();
    expect(exchangeOver(fileSystem).ask(SETATTR)).toEqual(ATTR_OUT);
    const changes = {
      mode: 0o100600,
      uid: 0x61626364,
      gid: 0xe1e2e3e4,
      size: 0x0001020304050607,
      mtime: -1500,
    };
    expect(fileSystem.calls).toEqual([
      ['setattr', 2, changes],
      ['getattr', 2],
    ]);
  });

  test.each([
    ['nothing', 0, {}],
    ['the mode', 1 << 0, { mode: 0o100600 }],
    ['the owner', 1 << 1, { uid: 11 }],
    ['the group', 1 << 2, { gid: 12 }],
    ['the size', 1 << 3, { size: 4096 }],
    ['the modification time', 1 << 5, { mtime: 7500 }],
    ['the access time, which is not kept', (1 << 4) | (1 << 7), {}],
    ['the change time, which is not kept', 1 << 10, {}],
    ['a lock owner and a handle, which change nothing', (1 << 6) | (1 << 9), {}],
  ])('asks for %s and nothing else (valid %i)', (_what, valid, changes) => {
    const fileSystem = new FakeFileSystem();
    exchangeOver(fileSystem).ask(setattr(valid));
    expect(fileSystem.calls[0]).toStrictEqual(['setattr', 2, changes]);
  });

  test('takes the present for "now", whatever time stands beside it', () => {
    const fileSystem = new FakeFileSystem();
    const before = Date.now();
    exchangeOver(fileSystem).ask(setattr((1 << 5) | (1 << 8)));
    const changes = fileSystem.calls[0]?.[2] as { mtime: number };
    expect(changes.mtime).toBeGreaterThanOrEqual(before);
    expect(changes.mtime).toBeLessThanOrEqual(Date.now());
  });

  test('hands on a refusal', () => {
    const fileSystem = new FakeFileSystem();
    fileSystem.result = -30;
    expect(exchangeOver(fileSystem).ask(SETATTR)).toEqual(failed('EROFS'));
    expect(fileSystem.calls).toHaveLength(1);
  });

  test.each([
    ['of the root', setattr(1, { nodeid: 1n }), 'EPERM'],
    ['of an unknown inode', setattr(1, { nodeid: UNKNOWN_INODE }), 'ENOENT'],
    ['to a smaller size', setattr(8, { size: 512n }), 'EPERM'],
    ['to a larger size', setattr(8, { size: 65537n }), 'EFBIG'],
    ['to the largest size', setattr(8, { size: 2n ** 64n - 1n }), 'EFBIG'],
  ] as const)('%s is refused, and nothing changes', (_what, request, errno) => {
    const { ask } = exchangeOverDisk(65536);
    const before = ask(GETATTR);
    expect(ask(request)).toEqual(failed(errno));
    expect(ask(GETATTR)).toEqual(before);
  });

  test('to size 0 answers with the size that never changes', () => {
    const reply = exchangeOverDisk(65536).ask(setattr(8, { size: 0n }));
    expect(numberAt(reply, 40, 8)).toBe(65536);
  });

  test('sets a time that GETATTR answers', () => {
    const { ask } = exchangeOverDisk(65536);
    const reply = ask(setattr((1 << 0) | (1 << 1) | (1 << 2) | (1 << 5)));
    expect(numberAt(reply, 64, 8)).toBe(7); // mtime
    expect(numberAt(reply, 84, 4)).toBe(500_000_000); // mtimensec
    expect(numberAt(reply, 92, 4)).toBe(0o100600); // mode
    expect(numberAt(reply, 100, 4)).toBe(11); // uid
    expect(numberAt(reply, 104, 4)).toBe(12); // gid
    expect(ask(GETATTR)).toEqual(reply);
  });

  test('keeps the second of a time that is almost over', () => {
    const { ask } = exchangeOverDisk(65536);
    const request = setattr(1 << 5, { mtimensec: 999_999_999 });
    request.splice(80, 8, ...littleEndian(1_700_000_000, 8)); // mtime
    expect(numberAt(ask(request), 64, 8)).toBe(1_700_000_000); // mtime
  });
});

describe('STATFS', () => {
  test('answers with every count in its place', () => {
    const fileSystem = new FakeFileSystem();
    expect(exchangeOver(fileSystem).ask(STATFS)).toEqual(STATFS_OUT);
    expect(fileSystem.calls).toEqual([['statfs']]);
  });
});
