/** Partitions as files, and who may open what beside whom. */
import { constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../../src/block/block-device.js';
import { DiskFileSystem } from '../../../src/fs/disk-file-system.js';
import { newDiskState } from '../../../src/fs/disk-state.js';
import { Caching, ROOT_INODE } from '../../../src/fuse/file-system.js';
import { putDosTable, type DosEntry } from '../../helpers/partition-tables.js';

const { EAGAIN, ENOENT, ENOSPC, ESTALE, ETXTBSY } = osConstants.errno;
const { O_RDONLY, O_RDWR } = constants;
const MIB = 1024 * 1024;

/** Long enough for an open to wait no more. */
const LATE = 501;

/** A disk in memory. Its first and its last 4 KiB of each MiB are data, the rest holes. */
class MemoryDevice implements BlockDevice {
  readonly bytes = Buffer.alloc(16 * MIB);
  readonly size = 16 * MIB;
  readonly readOnly = false;
  reads = 0;
  /** Called once, in the middle of the next read. */
  interrupt: (() => void) | undefined;

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void {
    this.reads += 1;
    target.set(this.bytes.subarray(offset, offset + length), targetOffset);
    const { interrupt } = this;
    this.interrupt = undefined;
    interrupt?.();
  }

  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void {
    this.bytes.set(source.subarray(sourceOffset, sourceOffset + length), offset);
  }

  zero(offset: number, length: number): void {
    this.bytes.fill(0, offset, offset + length);
  }

  flush(): void {
    // nothing to do
  }

  nextData(offset: number, limit: number): number {
    const within = offset % MIB;
    const data = within < 4096 || within >= MIB - 4096 ? offset : offset - within + MIB - 4096;
    return Math.min(data, limit);
  }

  nextHole(offset: number, limit: number): number {
    const within = offset % MIB;
    if (within >= 4096 && within < MIB - 4096) return Math.min(offset, limit);
    const next = within < 4096 ? offset - within + 4096 : offset - within + MIB + 4096;
    return Math.min(next, limit);
  }

  allocatedBytes(): number {
    return 16 * 8192;
  }

  close(): void {
    // nothing to do
  }
}

const FIRST = { type: 0x83, start: 2048, sectors: 4096 };
const SECOND = { type: 0x83, start: 6144, sectors: 4096 };

interface Traits {
  readonly hasUncachedFiles?: boolean;
  readonly writebackCache?: boolean;
}

/** A tree over a disk with two partitions, of 1 to 3 and of 3 to 5 MiB, and a second thread's. */
function mounted(traits: Traits = {}) {
  const device = new MemoryDevice();
  putDosTable(device.bytes, 0, [FIRST, SECOND]);
  const lines: string[] = [];
  const log = (line: string): void => {
    lines.push(line);
  };
  const state = newDiskState({ uid: 3, gid: 4, mode: 0o644, mtime: 5000 });
  const options = { state, writebackCache: false, hasUncachedFiles: true, log, ...traits };
  const tree = new DiskFileSystem(device, options);
  const other = new DiskFileSystem(device, options);
  const find = (name: string): number => tree.lookup(ROOT_INODE, name);
  /** Writes a new DOS table as a program does. */
  const partition = (...entries: DosEntry[]): void => {
    const sector = Buffer.alloc(512);
    putDosTable(sector, 0, entries);
    expect(tree.write(find('disk.raw'), sector, 512, 0)).toBe(512);
  };
  return { device, find, lines, other, partition, tree };
}

describe('partitions as files', () => {
  test('are beside disk.raw, with the size of the partition and what of it is in use', () => {
    const { find, tree } = mounted();
    expect(tree.readdir(ROOT_INODE)).toEqual(['.', '..', 'disk.raw', 'p1.raw', 'p2.raw']);
    expect(tree.getattr(find('p1.raw'))).toMatchObject({
      ...{ ino: 3, mode: constants.S_IFREG | 0o644, uid: 3, gid: 4 },
      ...{ size: 2 * MIB, blocks: (2 * 8192) / 512, mtime: 5000 },
    });
    for (const name of ['p3.raw', 'p0.raw', 'p01.raw', 'p1', 'p1.raw ', 'P1.raw', 'p.raw']) {
      expect(find(name), name).toBe(-ENOENT);
    }
  });

  test('show the bytes of the disk from their start on, and end where they end', () => {
    const { device, find, tree } = mounted();
    const [first, second] = [find('p1.raw'), find('p2.raw')];
    expect(tree.write(first, Buffer.alloc(1024, 7), 1024, 2 * MIB - 512)).toBe(512);
    expect(tree.write(first, Buffer.alloc(512, 7), 512, 2 * MIB)).toBe(-ENOSPC);
    expect(device.bytes.subarray(3 * MIB - 512, 3 * MIB).equals(Buffer.alloc(512, 7))).toBe(true);
    expect(device.bytes[3 * MIB]).toBe(0);
    const target = Buffer.alloc(1024);
    expect(tree.read(first, target, 1024, 2 * MIB - 512)).toBe(512);
    expect(target.subarray(0, 512).equals(Buffer.alloc(512, 7))).toBe(true);
    expect(tree.lseek(second, 0, 4)).toBe(4096);
    expect(tree.lseek(second, 4096, 3)).toBe(MIB - 4096);
    expect(tree.fallocate(first, 3, 2 * MIB - 512, 4096)).toBe(0);
    expect(device.bytes.subarray(3 * MIB - 512, 3 * MIB).every((byte) => byte === 0)).toBe(true);
  });

  test('say what is wrong with a table once, and no more than a hundred things', () => {
    const { find, lines, partition } = mounted();
    /** There is a notice for each sector, and one that is always the same. */
    const breakTable = (sector: number): void => {
      partition({ type: 5, start: sector, sectors: 8 });
      find('p5.raw');
    };
    for (let sector = 50_000; sector < 50_098; sector++) breakTable(sector);
    breakTable(50_000);
    expect(lines).toHaveLength(99);
    expect(new Set(lines).size).toBe(99);
    for (let sector = 50_100; sector < 50_400; sector++) breakTable(sector);
    expect(lines).toHaveLength(101);
    expect(lines.at(-1)).toBe(
      'partition table: nothing more is said of it as long as this mount lasts',
    );
  });

  test('follow the table, whichever thread is asked', () => {
    const { find, other, partition, tree } = mounted();
    const [first, second] = [find('p1.raw'), find('p2.raw')];
    partition(FIRST, { ...SECOND, sectors: 2048 }, { type: 0x83, start: 10240, sectors: 2048 });
    expect(other.readdir(ROOT_INODE)?.slice(3)).toEqual(['p1.raw', 'p2.raw', 'p3.raw']);
    expect(find('p1.raw')).toBe(first);
    const changed = find('p2.raw');
    expect(changed).not.toBe(second);
    expect(tree.getattr(changed)).toMatchObject({ ino: 4, size: MIB });
    expect(tree.getattr(second)).toMatchObject({ ino: 4, size: 2 * MIB });
    partition(FIRST);
    expect(other.lookup(ROOT_INODE, 'p2.raw')).toBe(-ENOENT);
    partition(FIRST, SECOND);
    expect(other.lookup(ROOT_INODE, 'p2.raw')).toBe(second);
  });

  test('are looked for only where something was written to where tables are', () => {
    const { device, find, tree } = mounted();
    const disk = find('disk.raw');
    find('p1.raw');
    const { reads } = device;
    tree.write(disk, Buffer.alloc(4096), 4096, 8 * MIB);
    tree.write(find('p1.raw'), Buffer.alloc(4096), 4096, 0);
    find('disk.raw');
    expect(tree.readdir(ROOT_INODE)).toHaveLength(5);
    expect(device.reads).toBe(reads);
    for (const offset of [512, 16 * MIB - 512]) {
      const before = device.reads;
      tree.write(disk, Buffer.alloc(512), 512, offset);
      find('p1.raw');
      expect(device.reads).toBeGreaterThan(before);
    }
    tree.fallocate(disk, 3, 0, 4096);
    expect(find('p1.raw')).toBe(-ENOENT);
  });

  test('are read again where tables of logical partitions are written, from the start', () => {
    const { device, find, partition, tree } = mounted();
    const disk = find('disk.raw');
    const logical = Buffer.alloc(512);
    putDosTable(logical, 0, [{ type: 0x83, start: 2048, sectors: 2048 }]);
    partition({ type: 5, start: 8192, sectors: 8192 });
    // While the first table is read somebody writes one that nobody watches yet.
    device.interrupt = () => tree.write(disk, logical, 512, 8192 * 512);
    expect(tree.getattr(find('p5.raw'))).toMatchObject({ ino: 7, size: MIB });
    expect(find('p1.raw')).toBe(-ENOENT);
    tree.write(disk, Buffer.alloc(512), 512, 8192 * 512);
    expect(find('p5.raw')).toBe(-ENOENT);
  });

  test('stay where the table cannot be read, with a line in the log', () => {
    const { device, find, lines, partition } = mounted();
    const first = find('p1.raw');
    partition(SECOND);
    device.interrupt = () => {
      throw new Error('the disk is broken');
    };
    expect(find('p1.raw')).toBe(first);
    expect(lines).toEqual(['the partition table cannot be read: the disk is broken']);
    expect(find('p2.raw')).toBe(-ENOENT);
  });

  test('of an odd table are told in the log, once', () => {
    const { find, lines, partition } = mounted();
    for (let round = 0; round < 3; round++) {
      partition(FIRST, { type: 0x83, start: 4096, sectors: 0xffff_ffff });
      expect(find('p2.raw')).toBeGreaterThan(0);
    }
    expect(lines).toEqual([
      'partition table: partition 2 ends past the end of the disk and is cut there',
      'partition table: partitions 1 and 2 overlap',
    ]);
  });

  test('that are gone serve who has them open, and nobody else', () => {
    const { device, find, partition, tree } = mounted();
    const gone = find('p2.raw');
    const caching = tree.open(gone, O_RDWR, 0);
    expect(caching).toBe(Caching.KEEP);
    const target = Buffer.alloc(512);
    for (let round = 0; round < 600; round++) partition({ ...FIRST, sectors: 4096 - round });
    expect(find('p2.raw')).toBe(-ENOENT);
    expect(tree.write(gone, Buffer.alloc(512, 9), 512, 0)).toBe(512);
    expect(tree.read(gone, target, 512, 0)).toBe(512);
    expect(device.bytes.subarray(3 * MIB, 3 * MIB + 512).equals(Buffer.alloc(512, 9))).toBe(true);
    expect(tree.open(gone, O_RDONLY, 0)).toBe(-ESTALE);
    expect(tree.open(find('disk.raw'), O_RDWR, LATE)).toBe(-ETXTBSY);
    tree.release(gone, O_RDWR, caching);
    expect(tree.open(find('disk.raw'), O_RDWR, 0)).toBe(Caching.DROP);
  });

  test('get an inode that nobody has ever seen when their place is used again', () => {
    const { find, partition, tree } = mounted();
    const seen = new Set<number>();
    for (let round = 1; round < 600; round++) {
      partition({ ...FIRST, sectors: round });
      const ino = find('p1.raw');
      expect(seen.has(ino)).toBe(false);
      seen.add(ino);
      expect(tree.getattr(ino)?.size).toBe(round * 512);
    }
    const [oldest = 0] = seen;
    expect(tree.getattr(oldest)).toBeUndefined();
    expect(tree.open(oldest, O_RDONLY, 0)).toBe(-ENOENT);
  });
});

describe('files that share bytes', () => {
  test('do not go together with a writer of the other, after half a second', () => {
    const { find, other, tree } = mounted();
    const [disk, first] = [find('disk.raw'), find('p1.raw')];
    const caching = tree.open(first, O_RDWR, 0);
    expect(other.open(disk, O_RDWR, 0)).toBe(-EAGAIN);
    expect(other.open(disk, O_RDWR, 499)).toBe(-EAGAIN);
    expect(other.open(disk, O_RDWR, LATE)).toBe(-ETXTBSY);
    tree.release(first, O_RDWR, caching);
    expect(other.open(disk, O_RDWR, 0)).toBe(Caching.DROP);
    expect(tree.open(first, O_RDWR, LATE)).toBe(-ETXTBSY);
  });

  test('are read without pages beside a writer', () => {
    const { find, tree } = mounted();
    const [disk, first] = [find('disk.raw'), find('p1.raw')];
    const writing = tree.open(first, O_RDWR, 0);
    expect(tree.open(disk, O_RDONLY, 0)).toBe(-EAGAIN);
    expect(tree.open(disk, O_RDONLY, 51)).toBe(Caching.NONE);
    // Who keeps no pages is in nobody's way.
    const second = tree.open(first, O_RDWR, 0);
    expect(second).toBe(Caching.KEEP);
    tree.release(first, O_RDWR, second);
    tree.release(first, O_RDWR, writing);
    expect(tree.open(first, O_RDWR, 0)).toBe(Caching.KEEP);
    tree.release(disk, O_RDONLY, Caching.NONE);
  });

  test('are not written beside a reader with pages', () => {
    const { find, tree } = mounted();
    const [disk, first] = [find('disk.raw'), find('p1.raw')];
    const caching = tree.open(disk, O_RDONLY, 0);
    expect(caching).toBe(Caching.KEEP);
    expect(tree.open(first, O_RDWR, 0)).toBe(-EAGAIN);
    expect(tree.open(first, O_RDWR, LATE)).toBe(-ETXTBSY);
    expect(tree.open(first, O_RDONLY, 0)).toBe(Caching.KEEP);
    tree.release(disk, O_RDONLY, caching);
    expect(tree.open(first, O_RDWR, 0)).toBe(Caching.KEEP);
  });

  test('drop their pages after the other was written, until an open that did was closed', () => {
    const { find, tree } = mounted();
    const [disk, first, second] = [find('disk.raw'), find('p1.raw'), find('p2.raw')];
    tree.release(first, O_RDWR, tree.open(first, O_RDWR, 0));
    expect(tree.open(disk, O_RDONLY, 0)).toBe(Caching.DROP);
    expect(tree.open(disk, O_RDONLY, 0)).toBe(Caching.DROP);
    tree.undoOpen(disk, O_RDONLY, Caching.DROP);
    expect(tree.open(disk, O_RDONLY, 0)).toBe(Caching.DROP);
    tree.release(disk, O_RDONLY, Caching.DROP);
    expect(tree.open(disk, O_RDONLY, 0)).toBe(Caching.KEEP);
    // What does not share bytes with what was written keeps its pages.
    expect(tree.open(second, O_RDONLY, 0)).toBe(Caching.KEEP);
  });

  test('are only those that overlap', () => {
    const { find, tree } = mounted();
    expect(tree.open(find('p1.raw'), O_RDWR, 0)).toBe(Caching.KEEP);
    expect(tree.open(find('p2.raw'), O_RDWR, 0)).toBe(Caching.KEEP);
    expect(tree.open(find('p2.raw'), O_RDONLY, 0)).toBe(Caching.KEEP);
  });

  test.each([
    ['a transport that has no files without pages', { hasUncachedFiles: false }],
    ['the writeback cache', { writebackCache: true }],
  ])('are not read beside a writer with %s', (_what, traits) => {
    const { find, tree } = mounted(traits);
    const [disk, first] = [find('disk.raw'), find('p1.raw')];
    tree.open(first, O_RDWR, 0);
    expect(tree.open(disk, O_RDONLY, 499)).toBe(-EAGAIN);
    expect(tree.open(disk, O_RDONLY, LATE)).toBe(-ETXTBSY);
  });

  test('one after the other under one name do not go together where pages belong to names', () => {
    const { find, partition, tree } = mounted({ hasUncachedFiles: false });
    const gone = find('p2.raw');
    const caching = tree.open(gone, O_RDONLY, 0);
    partition(FIRST, { ...SECOND, start: 12288 });
    expect(tree.open(find('p2.raw'), O_RDONLY, LATE)).toBe(-ETXTBSY);
    tree.release(gone, O_RDONLY, caching);
    expect(tree.open(find('p2.raw'), O_RDONLY, 0)).toBe(Caching.KEEP);
  });
});
