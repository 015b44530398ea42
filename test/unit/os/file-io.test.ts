import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  preallocate,
  punchHole,
  readAt,
  seekData,
  seekHole,
  writeAt,
} from '../../../src/os/file-io.js';
import { libc } from '../../../src/os/libc.js';
import { allocatePinned, pinnedAddress, pinnedTail } from '../../../src/os/pinned-memory.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const MIB = 1024 * 1024;

function openFile(content: Uint8Array, flags = 'r+'): { fd: number; path: string } {
  const path = join(tempFolder(), 'file');
  writeFileSync(path, content);
  const fd = openSync(path, flags);
  onTestFinished(() => {
    closeSync(fd);
  });
  return { fd, path };
}

describe('pinned memory', () => {
  test('begins a page where it was asked to, and a tail of it lies behind', () => {
    const bytes = allocatePinned(5000, 80);
    expect(bytes).toHaveLength(5000);
    expect(((pinnedAddress(bytes) ?? 0) + 80) % 4096).toBe(0);
    const tail = pinnedTail(bytes, 16);
    expect(tail).toHaveLength(4984);
    expect(pinnedAddress(tail)).toBe((pinnedAddress(bytes) ?? 0) + 16);
    expect(pinnedAddress(bytes.subarray(0))).toBeUndefined();
  });
});

describe.each(['pinned', 'plain'])('reads and writes of %s memory', (kind) => {
  const allocate = (length: number): Uint8Array =>
    kind === 'pinned' ? allocatePinned(length, 0) : new Uint8Array(length);

  test('are at the place asked for, and short at the end of the file', () => {
    const { fd, path } = openFile(Buffer.from('0123456789'));
    const bytes = allocate(8).fill(1);
    expect(readAt(fd, bytes, 2, 3, 4, path)).toBe(3);
    expect([...bytes]).toEqual([1, 1, 0x34, 0x35, 0x36, 1, 1, 1]);
    expect(readAt(fd, bytes, 0, 8, 7, path)).toBe(3);
    expect(readAt(fd, bytes, 0, 8, 10, path)).toBe(0);
    expect(writeAt(fd, bytes, 2, 2, 12, path)).toBe(2);
    expect([...readFileSync(path).subarray(10)]).toEqual([0, 0, 0x39, 0x35]);
  });

  test('reach beyond 4 GiB', () => {
    const { fd, path } = openFile(new Uint8Array(0));
    const place = 5 * 1024 * MIB + 7;
    const bytes = allocate(3).fill(9);
    expect(writeAt(fd, bytes, 0, 3, place, path)).toBe(3);
    expect(statSync(path).size).toBe(place + 3);
    bytes.fill(0);
    expect(readAt(fd, bytes, 0, 3, place, path)).toBe(3);
    expect([...bytes]).toEqual([9, 9, 9]);
  });

  test('fail as those of node:fs do', () => {
    const { fd, path } = openFile(Buffer.from('x'), 'r');
    const failure = { code: 'EBADF', errno: -9 };
    expect(() => writeAt(fd, allocate(1), 0, 1, 0, path)).toThrow(expect.objectContaining(failure));
    expect(() => readAt(-1, allocate(1), 0, 1, 0, path)).toThrow();
  });
});

describe('holes of the host', () => {
  test('are made, found, and read as zeros', () => {
    libc();
    const { fd, path } = openFile(Buffer.alloc(MIB, 5));
    truncateSync(path, 4 * MIB);
    expect(seekData(fd, 0, 4 * MIB)).toBe(0);
    expect(seekHole(fd, 0, 4 * MIB)).toBe(MIB);
    expect(seekHole(fd, 0, 4096)).toBe(4096);
    expect(seekData(fd, 2 * MIB, 4 * MIB)).toBe(4 * MIB);
    expect(punchHole(fd, 64 * 1024, 128 * 1024, path)).toBe(true);
    expect(seekHole(fd, 0, MIB)).toBe(64 * 1024);
    expect(seekData(fd, 64 * 1024, MIB)).toBe(192 * 1024);
    expect(statSync(path)).toMatchObject({ size: 4 * MIB });
    expect(
      readFileSync(path)
        .subarray(64 * 1024, 192 * 1024)
        .every((byte) => byte === 0),
    ).toBe(true);
  });
});

describe('preallocate', () => {
  test('takes the space, keeps what is there, and makes the file longer', () => {
    const { fd, path } = openFile(Buffer.from('data'));
    expect(preallocate(fd, 0, 3 * MIB + 1, path)).toBe(true);
    const { size, blocks } = statSync(path);
    expect(size).toBe(3 * MIB + 1);
    expect(blocks * 512).toBeGreaterThan(3 * MIB);
    const content = readFileSync(path);
    expect(content.subarray(0, 4).toString()).toBe('data');
    expect(content.subarray(4).every((byte) => byte === 0)).toBe(true);
  });

  test('fails as the system says', () => {
    const { fd, path } = openFile(Buffer.alloc(0), 'r');
    const failure = { code: 'EBADF', path };
    expect(() => preallocate(fd, 0, MIB, path)).toThrow(expect.objectContaining(failure));
    expect(statSync(path).size).toBe(0);
  });
});
