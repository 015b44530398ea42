import { constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../../src/block/block-device.js';
import { systemError } from '../../../src/errno.js';
import { DiskFileSystem } from '../../../src/fs/disk-file-system.js';
import { newDiskState } from '../../../src/fs/disk-state.js';
import { Caching, ROOT_INODE } from '../../../src/fuse/file-system.js';

const { errno } = osConstants;
const TIB = 1024 ** 4;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** A device of any size that holds nothing, and fails where it is told to. */
class FakeDevice implements BlockDevice {
  readonly size: number;
  readonly readOnly = false;
  failure: Error | undefined;
  /** Where something was written, and how much. */
  readonly written: [number, number][] = [];

  constructor(size: number) {
    this.size = size;
  }

  read(target: Uint8Array, targetOffset: number, length: number): void {
    this.#act();
    target.fill(0, targetOffset, targetOffset + length);
  }

  write(_source: Uint8Array, _sourceOffset: number, length: number, offset: number): void {
    this.#act();
    this.written.push([offset, length]);
  }

  zero(): void {
    this.#act();
  }

  flush(): void {
    this.#act();
  }

  nextData(): number {
    return this.size;
  }

  nextHole(offset: number): number {
    return offset;
  }

  allocatedBytes(): number {
    return this.size / 4;
  }

  close(): void {
    this.#act();
  }

  #act(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}

function mountTree(
  size: number,
  writebackCache = false,
): { device: FakeDevice; tree: DiskFileSystem; lines: string[] } {
  const device = new FakeDevice(size);
  const lines: string[] = [];
  const log = (line: string): void => {
    lines.push(line);
  };
  const state = newDiskState({ uid: 3, gid: 4, mode: 0o644, mtime: 5000 });
  const tree = new DiskFileSystem(device, { state, writebackCache, hasUncachedFiles: true, log });
  return { device, lines, tree };
}

describe('the mounted tree', () => {
  test('knows its root and disk.raw, and nothing else', () => {
    const { tree } = mountTree(4096);
    const disk = tree.lookup(ROOT_INODE, 'disk.raw');
    expect(disk).toBeGreaterThan(ROOT_INODE);
    expect(tree.lookup(ROOT_INODE, 'other')).toBe(-errno.ENOENT);
    expect(tree.lookup(disk, 'disk.raw')).toBe(-errno.ENOTDIR);
    expect(tree.getattr(99)).toBeUndefined();
    expect(tree.readdir(ROOT_INODE)).toEqual(['.', '..', 'disk.raw']);
    expect(tree.readdir(disk)).toBeUndefined();
  });

  test('shows owner, mode, size and blocks of the disk', () => {
    const { tree } = mountTree(8192);
    expect(tree.getattr(tree.lookup(ROOT_INODE, 'disk.raw'))).toMatchObject({
      mode: constants.S_IFREG | 0o644,
      uid: 3,
      gid: 4,
      size: 8192,
      blocks: 4,
      mtime: 5000,
    });
    expect(tree.getattr(ROOT_INODE)).toMatchObject({ mode: constants.S_IFDIR | 0o755, nlink: 2 });
  });

  test('refuses to open, read or write the directory as a file', () => {
    const { tree } = mountTree(4096);
    const bytes = new Uint8Array(16);
    expect(tree.open(ROOT_INODE, constants.O_RDONLY, 0)).toBe(-errno.EISDIR);
    expect(tree.read(ROOT_INODE, bytes, 16, 0)).toBe(-errno.EISDIR);
    expect(tree.write(ROOT_INODE, bytes, 16, 0)).toBe(-errno.EISDIR);
    expect(tree.setattr(ROOT_INODE, { mode: 0o700 })).toBe(-errno.EPERM);
  });

  test.each([
    [systemError('ENOSPC', 'full'), -errno.ENOSPC],
    [systemError('EFBIG', 'too large'), -errno.EFBIG],
    [new TypeError('a bug'), -errno.EIO],
  ])('answers %s of the engine with its errno and logs it once', (failure, expected) => {
    const { device, lines, tree } = mountTree(4096);
    const disk = tree.lookup(ROOT_INODE, 'disk.raw');
    device.failure = failure;
    const bytes = new Uint8Array(16);
    expect(tree.read(disk, bytes, 16, 0)).toBe(expected);
    expect(tree.write(disk, bytes, 16, 0)).toBe(expected);
    expect(tree.write(disk, bytes, 16, 0)).toBe(expected);
    expect(tree.fsync(disk)).toBe(expected);
    expect(lines.map((line) => line.split(':')[0])).toEqual(['read', 'write', 'flush']);
  });

  test('keeps the modification time where a write fails', () => {
    const { device, tree } = mountTree(4096);
    const disk = tree.lookup(ROOT_INODE, 'disk.raw');
    device.failure = systemError('EIO', 'broken');
    tree.write(disk, new Uint8Array(16), 16, 0);
    expect(tree.getattr(disk)?.mtime).toBe(5000);
  });

  test('with the writeback cache a write over the end writes what fits and gets ENOSPC', () => {
    const { device, tree } = mountTree(8192, true);
    const disk = tree.lookup(ROOT_INODE, 'disk.raw');
    expect(tree.open(disk, constants.O_RDWR, 0)).toBe(0);
    expect(tree.write(disk, new Uint8Array(1024).fill(7), 1024, 7680)).toBe(-errno.ENOSPC);
    expect(device.written).toEqual([[7680, 512]]);
    expect(tree.write(disk, new Uint8Array(512), 512, 8192)).toBe(-errno.ENOSPC);
    expect(device.written.length).toBe(1);
    // Whoever has the file open keeps it as it is; whoever comes next gets the right size.
    expect(tree.lookup(ROOT_INODE, 'disk.raw')).toBe(disk);
    tree.release(disk, constants.O_RDWR, Caching.KEEP);
    const again = tree.lookup(ROOT_INODE, 'disk.raw');
    expect(again).not.toBe(disk);
    expect(tree.lookup(ROOT_INODE, 'disk.raw')).toBe(again);
    expect(tree.getattr(again)).toEqual(tree.getattr(disk));
    expect(tree.open(disk, constants.O_RDONLY, 0)).toBe(-errno.ESTALE);
    expect(tree.open(again, constants.O_RDONLY, 0)).toBe(0);
  });

  test('tells holes as lseek does, and hides them while the kernel may keep written pages', () => {
    const { tree } = mountTree(8192, true);
    const disk = tree.lookup(ROOT_INODE, 'disk.raw');
    expect(tree.lseek(disk, 100, SEEK_DATA)).toBe(-errno.ENXIO);
    expect(tree.lseek(disk, 100, SEEK_HOLE)).toBe(100);
    expect(tree.lseek(disk, 8192, SEEK_HOLE)).toBe(-errno.ENXIO);
    expect(tree.lseek(disk, 0, 7)).toBe(-errno.EINVAL);
    expect(tree.open(disk, constants.O_RDWR, 0)).toBe(0);
    expect(tree.lseek(disk, 100, SEEK_DATA)).toBe(100);
    expect(tree.lseek(disk, 100, SEEK_HOLE)).toBe(8192);
    expect(tree.getattr(disk)?.blocks).toBe(16);
    tree.release(disk, constants.O_RDONLY, Caching.KEEP);
    expect(tree.lseek(disk, 100, SEEK_HOLE)).toBe(8192);
    tree.release(disk, constants.O_RDWR, Caching.KEEP);
    expect(tree.lseek(disk, 100, SEEK_HOLE)).toBe(100);
    expect(tree.getattr(disk)?.blocks).toBe(4);
  });

  test.each([
    ['preallocation', 0, 0, 512, -errno.EOPNOTSUPP],
    ['preallocation that keeps the size', 1, 0, 512, -errno.EOPNOTSUPP],
    ['a hole', 3, 0, 512, 0],
    ['a range of zeros', 17, 0, 512, 0],
    ['a range of zeros over the end', 16, 4096, 512, -errno.EFBIG],
    ['a range of zeros over the end that keeps the size', 17, 4096, 512, 0],
    ['a collapsed range', 8, 0, 512, -errno.EOPNOTSUPP],
  ])('answers fallocate for %s (mode %d)', (_what, mode, offset, length, result) => {
    const { tree } = mountTree(4096);
    const disk = tree.lookup(ROOT_INODE, 'disk.raw');
    expect(tree.fallocate(disk, mode, offset, length)).toBe(result);
  });

  test.each([4096, 16 * TIB, 64 * TIB, 4096 * TIB])(
    'counts blocks of %d bytes in 32 bits',
    (size) => {
      const { bfree, blocks, bsize } = mountTree(size).tree.statfs();
      expect(blocks).toBeLessThan(2 ** 32);
      expect(blocks * bsize).toBe(size);
      expect(bfree * bsize).toBe(size - Math.ceil(size / 4 / bsize) * bsize);
    },
  );
});
