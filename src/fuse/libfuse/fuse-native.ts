/** The part of fuse-native 2.2.6 that we use; the package has no types of its own. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { preloadLibrary } from '../../os/shared-library.js';

type Done = (error: number) => void;

interface Stat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly nlink: number;
  readonly ino: number;
  readonly blksize: number;
  readonly blocks: number;
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
}

interface Statfs {
  readonly bsize: number;
  readonly frsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly favail: number;
  readonly namemax: number;
}

export interface Operations {
  getattr(path: string, done: (error: number, stat?: Stat) => void): void;
  statfs(path: string, done: (error: number, statfs?: Statfs) => void): void;
  readdir(path: string, done: (error: number, names?: readonly string[]) => void): void;
  open(path: string, flags: number, done: (error: number, handle?: number) => void): void;
  release(path: string, handle: number, done: Done): void;
  read(
    path: string,
    handle: number,
    target: Buffer,
    length: number,
    offset: number,
    done: (error: number, count?: number) => void,
  ): void;
  write(
    path: string,
    handle: number,
    source: Buffer,
    length: number,
    offset: number,
    done: (error: number, count?: number) => void,
  ): void;
  flush(path: string, handle: number, done: Done): void;
  fsync(path: string, datasync: boolean, handle: number, done: Done): void;
  fsyncdir(path: string, datasync: boolean, handle: number, done: Done): void;
  truncate(path: string, size: number, done: Done): void;
  ftruncate(path: string, handle: number, size: number, done: Done): void;
  chmod(path: string, mode: number, done: Done): void;
  chown(path: string, uid: number, gid: number, done: Done): void;
  utimens(path: string, atime: number, mtime: number, done: Done): void;
  create(path: string, mode: number, done: (error: number, handle?: number) => void): void;
  mknod(path: string, mode: number, dev: number, done: Done): void;
  mkdir(path: string, mode: number, done: Done): void;
  unlink(path: string, done: Done): void;
  rmdir(path: string, done: Done): void;
  rename(source: string, target: string, done: Done): void;
  link(source: string, target: string, done: Done): void;
  symlink(source: string, target: string, done: Done): void;
}

/** An instance before it is mounted. */
interface Fuse {
  mount(done: (error: Error | null) => void): void;
}

/** The class that the package exports; `_fuseOptions` is an ordinary method, meant or not. */
export type FuseClass = new (
  mountpoint: string,
  operations: Operations,
  options: { timeout: false },
) => Fuse;

/**
 * Loads the package, an optional dependency with a binary for x64 Linux only. Its binary needs
 * libfuse.so.2; the package brings one, but where the loader does not look.
 *
 * @throws where it is not installed or has no binary for this machine
 */
export function loadFuseNative(): FuseClass {
  const require = createRequire(import.meta.url);
  const folder = dirname(require.resolve('fuse-native/package.json'));
  preloadLibrary(join(folder, 'prebuilds', `${process.platform}-${process.arch}`, 'libfuse.so'));
  return require('fuse-native') as FuseClass;
}
