/** A file system that does nothing but write down how it was called. */
import type {
  AttributeChanges,
  Attributes,
  FileSystem,
  FileSystemStatistics,
} from '../../src/fuse/file-system.js';

/**
 * Attributes of the fake's `disk.raw`, no two alike: a time before 1970, one with a fraction, one
 * of more seconds than 32 bits hold, and numbers with the highest of their bits set.
 */
const DISK_ATTRIBUTES: Attributes = {
  ino: 2,
  mode: 0o100644,
  nlink: 0x31323334,
  uid: 0x41424344,
  gid: 0xd1d2d3d4,
  size: 0x0001_1213_1415_1617,
  blocks: 0x0002_2122_2324_2526,
  blksize: 0x51525354,
  atime: -1500,
  mtime: 1_700_000_000_250,
  ctime: 5_000_000_000_125,
};

/** `DISK_ATTRIBUTES` as a `struct fuse_attr`. */
export const DISK_ATTRIBUTE_BYTES: readonly number[] = [
  ...[0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // ino
  ...[0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x01, 0x00], // size
  ...[0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x02, 0x00], // blocks
  ...[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // atime
  ...[0x00, 0xf1, 0x53, 0x65, 0x00, 0x00, 0x00, 0x00], // mtime
  ...[0x00, 0xf2, 0x05, 0x2a, 0x01, 0x00, 0x00, 0x00], // ctime
  ...[0x00, 0x65, 0xcd, 0x1d, 0x80, 0xb2, 0xe6, 0x0e], // atimensec, mtimensec
  ...[0x40, 0x59, 0x73, 0x07, 0xa4, 0x81, 0x00, 0x00], // ctimensec, mode
  ...[0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41], // nlink, uid
  ...[0xd4, 0xd3, 0xd2, 0xd1, 0x00, 0x00, 0x00, 0x00], // gid, rdev
  ...[0x54, 0x53, 0x52, 0x51, 0x00, 0x00, 0x00, 0x00], // blksize, flags
];

const ROOT_ATTRIBUTES: Attributes = { ...DISK_ATTRIBUTES, ino: 1, mode: 0o040755 };

/** What a call returns in the fake where a test does not say. */
const LOOKED_UP = 2;

/** A tree with `disk.raw` (inode 2) in the root (1); results of calls are what a test sets. */
export class FakeFileSystem implements FileSystem {
  /** Each call: the name of the method and its arguments, written data as an array of its bytes. */
  readonly calls: unknown[][] = [];
  /** Result of everything that returns a number. */
  result: number | undefined;
  /** What is in the root. */
  names: readonly string[] = ['.', '..', 'disk.raw'];
  /** Thrown by every call. */
  failure: Error | undefined;

  lookup(parent: number, name: string): number {
    return this.#called(LOOKED_UP, 'lookup', parent, name);
  }

  getattr(ino: number): Attributes | undefined {
    this.#called(0, 'getattr', ino);
    return [ROOT_ATTRIBUTES, DISK_ATTRIBUTES].find((attributes) => attributes.ino === ino);
  }

  setattr(ino: number, changes: AttributeChanges): number {
    return this.#called(0, 'setattr', ino, changes);
  }

  open(ino: number, flags: number, waited: number): number {
    return this.#called(0, 'open', ino, flags, waited);
  }

  release(ino: number, flags: number, caching: number): void {
    this.#called(0, 'release', ino, flags, caching);
  }

  undoOpen(ino: number, flags: number, caching: number): void {
    this.#called(0, 'undoOpen', ino, flags, caching);
  }

  /** Fills with 1, 2, 3 and so on. */
  read(ino: number, target: Uint8Array, length: number, offset: number): number {
    const count = this.#called(length, 'read', ino, length, offset);
    for (let index = 0; index < count; index++) target[index] = index + 1;
    return count;
  }

  write(ino: number, source: Uint8Array, length: number, offset: number): number {
    return this.#called(length, 'write', ino, [...source.subarray(0, length)], length, offset);
  }

  fsync(ino: number): number {
    return this.#called(0, 'fsync', ino);
  }

  fallocate(ino: number, mode: number, offset: number, length: number): number {
    return this.#called(0, 'fallocate', ino, mode, offset, length);
  }

  lseek(ino: number, offset: number, whence: number): number {
    return this.#called(0, 'lseek', ino, offset, whence);
  }

  readdir(ino: number): readonly string[] | undefined {
    this.#called(0, 'readdir', ino);
    return ino === 1 ? this.names : undefined;
  }

  statfs(): FileSystemStatistics {
    this.#called(0, 'statfs');
    return {
      bsize: 0x61626364,
      blocks: 0x0003_3132_3334_3536,
      bfree: 0x0004_4142_4344_4546,
      files: 0x0005_5152_5354_5556,
      namemax: 0x71727374,
    };
  }

  #called(usual: number, ...call: unknown[]): number {
    this.calls.push(call);
    if (this.failure !== undefined) throw this.failure;
    return this.result ?? usual;
  }
}
