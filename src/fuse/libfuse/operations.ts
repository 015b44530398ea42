/**
 * From fuse-native's callbacks, which carry paths, to `FileSystem`, which knows inodes. The tree is
 * one directory deep, so a path is its inode after one look-up. Names cannot be made, moved or
 * removed: EPERM.
 */
import type { Operations } from './fuse-native.js';
import createDebug from 'debug';
import { Errno } from '../../errno.js';
import { WRITE_ACCESS } from '../../file-flags.js';
import { Caching, ROOT_INODE, type AttributeChanges, type FileSystem } from '../file-system.js';

type Done = (error: number) => void;

const debug = createDebug('vmdkfs:fuse');

/** WRITE_ACCESS is the two lowest bits of the flags of an open. */
const HANDLE_SHIFT = 2;

/** How often an open is tried again that waits for the close of another file, milliseconds. */
const OPEN_RETRY_MS = 5;

/** The operations that serve `fileSystem`. */
export function operationsFor(fileSystem: FileSystem): Operations {
  const resolve = (path: string): number =>
    path === '/' ? ROOT_INODE : fileSystem.lookup(ROOT_INODE, path.slice(1));
  const withInode = (path: string, done: Done, act: (ino: number) => number): void => {
    const ino = resolve(path);
    done(ino < 0 ? ino : act(ino));
  };
  const change = (path: string, changes: AttributeChanges, done: Done): void => {
    withInode(path, done, (ino) => {
      const result = fileSystem.setattr(ino, changes);
      debug('SETATTR %s %o: %d', path, changes, result);
      return result;
    });
  };
  return {
    ...attributeOperations(fileSystem, resolve),
    ...dataOperations(fileSystem, resolve),
    ...refusals,
    truncate: (path, size, done) => {
      change(path, { size }, done);
    },
    ftruncate: (path, _handle, size, done) => {
      change(path, { size }, done);
    },
    chmod: (path, mode, done) => {
      change(path, { mode }, done);
    },
    chown: (path, uid, gid, done) => {
      change(path, { ...asked('uid', uid), ...asked('gid', gid) }, done);
    },
    utimens: (path, _atime, mtime, done) => {
      change(path, { mtime }, done);
    },
  };
}

/** Owner or group as asked for; 2^32-1 (-1) leaves it. */
function asked(name: 'uid' | 'gid', id: number): AttributeChanges {
  return id === 0xffffffff ? {} : { [name]: id };
}

function attributeOperations(
  fileSystem: FileSystem,
  resolve: (path: string) => number,
): Pick<Operations, 'getattr' | 'statfs' | 'readdir' | 'fsyncdir'> {
  return {
    getattr: (path, done) => {
      const ino = resolve(path);
      const attributes = ino < 0 ? undefined : fileSystem.getattr(ino);
      if (attributes === undefined) done(ino < 0 ? ino : -Errno.ENOENT);
      else done(0, attributes);
    },
    statfs: (_path, done) => {
      const { bsize, blocks, bfree, files, namemax } = fileSystem.statfs();
      const space = { bsize, frsize: bsize, blocks, bfree, bavail: bfree };
      done(0, { ...space, files, ffree: 0, favail: 0, namemax });
    },
    readdir: (path, done) => {
      const ino = resolve(path);
      const names = ino < 0 ? undefined : fileSystem.readdir(ino);
      if (names === undefined) done(ino < 0 ? ino : -Errno.ENOTDIR);
      else done(0, names);
    },
    fsyncdir: (_path, _datasync, _handle, done) => {
      done(0);
    },
  };
}

function dataOperations(
  fileSystem: FileSystem,
  resolve: (path: string) => number,
): Pick<Operations, 'open' | 'release' | 'read' | 'write' | 'flush' | 'fsync'> {
  // There is no state for each open: a handle is its inode and how it was opened. It has 31 bits.
  const inodeOf = (handle: number): number => handle >> HANDLE_SHIFT;
  return {
    open: (path, flags, done) => {
      const started = performance.now();
      const attempt = (): void => {
        const ino = resolve(path);
        const waited = performance.now() - started;
        const result = ino < 0 ? ino : fileSystem.open(ino, flags, waited);
        // The thread of libfuse waits, this one goes on.
        if (result === -Errno.EAGAIN) setTimeout(attempt, OPEN_RETRY_MS);
        else if (result < 0) done(result);
        else done(0, (ino << HANDLE_SHIFT) | (flags & WRITE_ACCESS));
      };
      attempt();
    },
    release: (_path, handle, done) => {
      // The kernel drops its pages at every open.
      fileSystem.release(inodeOf(handle), handle & WRITE_ACCESS, Caching.DROP);
      done(0);
    },
    // libfuse takes a count or a negative errno as the result itself.
    read: (path, handle, target, length, offset, done) => {
      const result = fileSystem.read(inodeOf(handle), target, length, offset);
      if (debug.enabled) debug('READ %s %d at %d: %d', path, length, offset, result);
      done(result);
    },
    write: (path, handle, source, length, offset, done) => {
      const result = fileSystem.write(inodeOf(handle), source, length, offset);
      if (debug.enabled) debug('WRITE %s %d at %d: %d', path, length, offset, result);
      done(result);
    },
    flush: (path, handle, done) => {
      const result = fileSystem.fsync(inodeOf(handle));
      debug('FLUSH %s: %d', path, result);
      done(result);
    },
    fsync: (path, _datasync, handle, done) => {
      const result = fileSystem.fsync(inodeOf(handle));
      debug('FSYNC %s: %d', path, result);
      done(result);
    },
  };
}

const refuse = (...args: readonly unknown[]): void => {
  (args.at(-1) as Done)(-Errno.EPERM);
};

const refusals = {
  create: refuse,
  mknod: refuse,
  mkdir: refuse,
  unlink: refuse,
  rmdir: refuse,
  rename: refuse,
  link: refuse,
  symlink: refuse,
} satisfies Partial<Operations>;
