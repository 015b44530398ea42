/**
 * What `disk.raw` does, as one table: each behaviour is a name and a function over an open file.
 * It runs on the engine behind `FileSystem`, on frames of the kernel's protocol in this process, and
 * on real mounts over each transport, which differ only in how a file is opened and closed.
 */
import { expect } from 'vitest';
import { pattern } from '../helpers/made-disk.js';

/** The disk as a file; results are counts or the names of errors, as a program sees them. */
export interface DiskFile {
  readonly size: number;
  read(length: number, offset: number): Promise<Buffer>;
  /** Bytes written, or the name of the error. */
  write(bytes: Uint8Array, offset: number): Promise<number | string>;
  /** '' or the name of the error. */
  truncate(size: number): Promise<string>;
  sync(): Promise<string>;
  chmod(mode: number): Promise<string>;
  setTimes(seconds: number): Promise<string>;
  /** The offset found, or the name of the error. */
  seek(whence: 'data' | 'hole', offset: number): Promise<number | string>;
  /** '' or the name of the error. */
  fallocate(mode: number, offset: number, length: number): Promise<string>;
  stat(): Promise<{ size: number; blocks: number; blksize: number; mtimeMs: number; mode: number }>;
}

export interface Behaviour {
  readonly title: string;
  /** Whether it needs lseek and fallocate, which libfuse 2 does not have. */
  readonly needsHoles?: true;
  /** Whether it counts on grains of 64 KiB. */
  readonly needsUsualGrains?: true;
  readonly run: (file: DiskFile) => Promise<void>;
}

const KIB = 1024;

// fallocate(2), Linux.
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;

/** Behaviours of a writable disk of 8 MiB that holds nothing. */
export const WRITABLE: readonly Behaviour[] = [
  {
    title: 'an empty disk reads as zeros and takes up no blocks',
    run: async (file) => {
      expect((await file.read(128 * KIB, 0)).equals(Buffer.alloc(128 * KIB))).toBe(true);
      expect((await file.stat()).blocks).toBe(0);
    },
  },
  {
    title: 'what was written is read, around it zeros',
    run: async (file) => {
      const bytes = pattern(200 * KIB, 1);
      expect(await file.write(bytes, 100 * KIB + 3)).toBe(bytes.length);
      const around = await file.read(bytes.length + 20, 100 * KIB - 7);
      expect(around.subarray(0, 10).equals(Buffer.alloc(10))).toBe(true);
      expect(around.subarray(10, 10 + bytes.length).equals(bytes)).toBe(true);
      expect(around.subarray(10 + bytes.length).equals(Buffer.alloc(10))).toBe(true);
    },
  },
  {
    title: 'a write of 1 MiB takes up its blocks',
    run: async (file) => {
      await file.write(pattern(1024 * KIB, 2), 1024 * KIB);
      await file.sync();
      expect((await file.stat()).blocks).toBe((1024 * KIB) / 512);
    },
  },
  {
    title: 'zeros over nothing take up no blocks',
    run: async (file) => {
      expect(await file.write(Buffer.alloc(1024 * KIB), 0)).toBe(1024 * KIB);
      await file.sync();
      expect((await file.stat()).blocks).toBe(0);
    },
  },
  {
    title: 'a read past the end is short, and empty behind it',
    run: async (file) => {
      expect((await file.read(100, file.size - 40)).length).toBe(40);
      expect((await file.read(100, file.size)).length).toBe(0);
      expect((await file.read(100, file.size + 10_000)).length).toBe(0);
    },
  },
  {
    title: 'a write past the end gets ENOSPC and the size stays',
    run: async (file) => {
      expect(await file.write(Buffer.alloc(512, 1), file.size)).toBe('ENOSPC');
      expect(await file.write(Buffer.alloc(512, 1), file.size + 4096)).toBe('ENOSPC');
      expect((await file.stat()).size).toBe(file.size);
    },
  },
  {
    title: 'a write over the end is short',
    run: async (file) => {
      expect(await file.write(Buffer.alloc(1024, 9), file.size - 512)).toBe(512);
      expect((await file.read(512, file.size - 512)).equals(Buffer.alloc(512, 9))).toBe(true);
      expect((await file.stat()).size).toBe(file.size);
    },
  },
  {
    title: 'truncation to 0 (O_TRUNC) and to the same size succeeds and changes nothing',
    run: async (file) => {
      await file.write(Buffer.alloc(512, 5), 0);
      expect(await file.truncate(0)).toBe('');
      expect(await file.truncate(file.size)).toBe('');
      expect((await file.stat()).size).toBe(file.size);
      expect((await file.read(512, 0)).equals(Buffer.alloc(512, 5))).toBe(true);
    },
  },
  {
    title: 'truncation to a smaller size is EPERM, to a larger one EFBIG',
    run: async (file) => {
      expect(await file.truncate(512)).toBe('EPERM');
      expect(await file.truncate(file.size + 512)).toBe('EFBIG');
      expect((await file.stat()).size).toBe(file.size);
    },
  },
  {
    title: 'modes and times can be set',
    run: async (file) => {
      expect(await file.chmod(0o600)).toBe('');
      expect(await file.setTimes(1_000_000_000)).toBe('');
      const { mode, mtimeMs } = await file.stat();
      expect(mode & 0o777).toBe(0o600);
      expect(mtimeMs).toBe(1_000_000_000_000);
    },
  },
  {
    title: 'the modification time stays until something is written',
    run: async (file) => {
      await file.setTimes(1_000_000_000);
      await file.read(512, 0);
      await file.sync();
      expect((await file.stat()).mtimeMs).toBe(1_000_000_000_000);
      await file.write(Buffer.alloc(512, 1), 0);
      await file.sync();
      expect((await file.stat()).mtimeMs).toBeGreaterThan(1_600_000_000_000);
    },
  },
  {
    title: 'data and holes are found, to the block of the host or the grain',
    needsHoles: true,
    needsUsualGrains: true,
    run: async (file) => {
      expect(await file.seek('data', 0)).toBe('ENXIO');
      expect(await file.seek('hole', 4097)).toBe(4097);
      await file.write(pattern(4 * KIB, 3), 200 * KIB);
      await file.write(pattern(4 * KIB, 3), 1000 * KIB);
      await file.sync();
      const near = async (seek: Promise<number | string>, low: number, high: number) => {
        const found = await seek;
        expect(found).toBeGreaterThanOrEqual(low * KIB);
        expect(found).toBeLessThanOrEqual(high * KIB);
      };
      await near(file.seek('data', 0), 192, 200);
      expect(await file.seek('data', 202 * KIB)).toBe(202 * KIB);
      await near(file.seek('hole', 201 * KIB), 204, 256);
      await near(file.seek('data', 256 * KIB), 960, 1000);
      expect(await file.seek('data', 1024 * KIB)).toBe('ENXIO');
      expect(await file.seek('data', file.size)).toBe('ENXIO');
      expect(await file.seek('hole', file.size)).toBe('ENXIO');
    },
  },
  {
    title: 'the end of the disk ends the last data',
    needsHoles: true,
    run: async (file) => {
      await file.write(pattern(64 * KIB, 3), file.size - 64 * KIB);
      await file.sync();
      expect(await file.seek('hole', file.size - 10)).toBe(file.size);
    },
  },
  {
    title: 'a punched hole and a zeroed range read as zeros, around them nothing changes',
    needsHoles: true,
    run: async (file) => {
      const bytes = pattern(512 * KIB, 4);
      await file.write(bytes, 64 * KIB);
      const holes = [
        [KEEP_SIZE | PUNCH_HOLE, 100 * KIB + 7, 200 * KIB],
        [KEEP_SIZE | ZERO_RANGE, 400 * KIB, 1],
        [ZERO_RANGE, 450 * KIB, 10 * KIB],
      ] as const;
      for (const [mode, offset, length] of holes) {
        expect(await file.fallocate(mode, offset, length)).toBe('');
        bytes.fill(0, offset - 64 * KIB, offset - 64 * KIB + length);
      }
      expect((await file.read(bytes.length, 64 * KIB)).equals(bytes)).toBe(true);
      const again = pattern(8 * KIB, 5);
      await file.write(again, 150 * KIB);
      again.copy(bytes, 86 * KIB);
      await file.sync();
      expect((await file.read(bytes.length, 64 * KIB)).equals(bytes)).toBe(true);
    },
  },
  {
    title: 'a hole over nothing takes up nothing',
    needsHoles: true,
    run: async (file) => {
      expect(await file.fallocate(KEEP_SIZE | PUNCH_HOLE, 0, file.size)).toBe('');
      expect(await file.fallocate(KEEP_SIZE | ZERO_RANGE, 5, 3 * KIB)).toBe('');
      await file.sync();
      expect((await file.stat()).blocks).toBe(0);
    },
  },
  {
    title: 'space is not preallocated, and nothing grows',
    needsHoles: true,
    run: async (file) => {
      expect(await file.fallocate(0, 0, 4096)).toBe('ENOTSUP');
      expect(await file.fallocate(KEEP_SIZE, 0, 4096)).toBe('ENOTSUP');
      expect(await file.fallocate(ZERO_RANGE, file.size - 512, 1024)).toBe('EFBIG');
      expect(await file.fallocate(KEEP_SIZE | PUNCH_HOLE, file.size - 512, 4096)).toBe('');
      expect((await file.stat()).size).toBe(file.size);
    },
  },
  {
    title: 'the preferred size of a request is a grain',
    run: async (file) => {
      expect((await file.stat()).blksize).toBe(64 * KIB);
    },
  },
];

/** Behaviours of a read-only disk of 8 MiB whose first 512 bytes are 7. */
export const READ_ONLY: readonly Behaviour[] = [
  {
    title: 'a read-only disk is mode 0444 and is read',
    run: async (file) => {
      expect((await file.stat()).mode & 0o777).toBe(0o444);
      expect((await file.read(512, 0)).equals(Buffer.alloc(512, 7))).toBe(true);
    },
  },
  {
    title: 'a read-only disk reads anywhere, and short at its end',
    run: async (file) => {
      expect((await file.read(1024, 100)).subarray(0, 412).equals(Buffer.alloc(412, 7))).toBe(true);
      expect((await file.read(4096, 512)).equals(Buffer.alloc(4096))).toBe(true);
      expect((await file.read(3 * 1024 * KIB, 4096)).length).toBe(3 * 1024 * KIB);
      expect((await file.read(100, file.size - 40)).length).toBe(40);
      expect((await file.read(100, file.size)).length).toBe(0);
      expect((await file.read(100, file.size + 10_000)).length).toBe(0);
    },
  },
  {
    title: 'a read-only disk has its data at the start',
    needsHoles: true,
    run: async (file) => {
      expect(await file.seek('data', 0)).toBe(0);
      expect(await file.seek('hole', 0)).toBeGreaterThan(0);
    },
  },
  {
    title: 'a read-only disk refuses every change with EROFS',
    run: async (file) => {
      expect(await file.write(Buffer.alloc(512), 0)).toBe('EROFS');
      expect(await file.truncate(0)).toBe('EROFS');
      expect(await file.chmod(0o600)).toBe('EROFS');
    },
  },
];
