/**
 * What `disk.raw` does, as one table: each behaviour is a name and a function over an open file.
 * It runs on the engine behind `FileSystem` and on a real mount, which differ only in how a file
 * is opened and closed.
 */
import { expect } from 'vitest';
import { pattern } from '../helpers/disk-kinds.js';

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
  stat(): Promise<{ size: number; blocks: number; blksize: number; mtimeMs: number; mode: number }>;
}

export interface Behaviour {
  readonly title: string;
  readonly run: (file: DiskFile) => Promise<void>;
}

const KIB = 1024;

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
    title: 'a read-only disk refuses every change with EROFS',
    run: async (file) => {
      expect(await file.write(Buffer.alloc(512), 0)).toBe('EROFS');
      expect(await file.truncate(0)).toBe('EROFS');
      expect(await file.chmod(0o600)).toBe('EROFS');
    },
  },
];
