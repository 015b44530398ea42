/**
 * A host whose files are in memory. The crash tests put it in the place of `node:fs` and of
 * `src/os/file-io.ts`, so that an image can be opened in thousands of states without a system call,
 * and so that every write, hole and barrier of the engine is seen. Files that are not below
 * `MEMORY_FOLDER` are the real host's.
 */
import type * as NodeFs from 'node:fs';
import type { OpenDirOptions } from 'node:fs';
import { systemError } from '../../src/errno.js';
import type * as FileIo from '../../src/os/file-io.js';

/** The folder that exists in memory only. */
export const MEMORY_FOLDER = '/memory-host';

/** Descriptors from here on are those of files in memory. */
const FIRST_FD = 1_000_000;

interface Undo {
  readonly position: number;
  readonly before: Buffer;
  readonly length: number;
}

/** A file; what lies behind its end in the buffer is zeros. */
export class MemoryFile {
  readonly path: string;
  readonly inode: number;
  #bytes: Buffer;
  #length: number;
  #undo: Undo[] | undefined;

  constructor(path: string, inode: number, content: Uint8Array) {
    this.path = path;
    this.inode = inode;
    this.#bytes = Buffer.from(content);
    this.#length = content.length;
  }

  get length(): number {
    return this.#length;
  }

  /** What the file holds; not to be written to. */
  get content(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  read(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.#length - position));
    target.set(this.#bytes.subarray(position, position + count), targetOffset);
    return count;
  }

  write(bytes: Uint8Array, position: number): void {
    this.#change(position, bytes.length);
    this.#bytes.set(bytes, position);
    this.#length = Math.max(this.#length, position + bytes.length);
  }

  /** Zeros without making the file longer. */
  punch(position: number, length: number): void {
    const end = Math.min(position + length, this.#length);
    if (end <= position) return;
    this.#change(position, end - position);
    this.#bytes.fill(0, position, end);
  }

  setLength(length: number): void {
    const [start, end] = [Math.min(length, this.#length), Math.max(length, this.#length)];
    this.#change(start, end - start);
    this.#bytes.fill(0, start, end);
    this.#length = length;
  }

  /** From now on changes can be taken back. */
  mark(): void {
    this.#undo = [];
  }

  /** Takes back what was changed since `mark`. */
  rewind(): void {
    for (const { before, length, position } of this.#undo?.reverse() ?? []) {
      this.#bytes.set(before, position);
      this.#length = length;
    }
    this.#undo = undefined;
  }

  #change(position: number, length: number): void {
    const end = position + length;
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(end, Math.ceil(this.#bytes.length * 1.5)));
      this.#bytes.copy(larger);
      this.#bytes = larger;
    }
    const before = Buffer.from(this.#bytes.subarray(position, end));
    this.#undo?.push({ position, before, length: this.#length });
  }
}

/** What the engine does to a file. */
export type HostEvent =
  | {
      readonly kind: 'change';
      readonly file: MemoryFile;
      readonly position: number;
      readonly length: number;
      /** Undefined where a hole was punched. */
      readonly bytes: Buffer | undefined;
    }
  /** The file gets another length. */
  | { readonly kind: 'length'; readonly file: MemoryFile; readonly length: number }
  | { readonly kind: 'barrier'; readonly file: MemoryFile };

const files = new Map<string, MemoryFile>();
const open = new Map<number, MemoryFile>();
let nextFd = FIRST_FD;
let room = Infinity;
let canPunch = true;
let record: ((event: HostEvent) => void) | undefined;

/** Files by their names, in place of all that were there. */
export function loadFiles(contents: ReadonlyMap<string, Uint8Array>): void {
  files.clear();
  for (const [name, content] of contents) {
    const path = `${MEMORY_FOLDER}/${name}`;
    files.set(path, new MemoryFile(path, files.size + 1, content));
  }
}

/** The file called `name`. */
export function memoryFile(name: string): MemoryFile {
  const file = files.get(`${MEMORY_FOLDER}/${name}`);
  if (file === undefined) throw new Error(`there is no ${name} in memory`);
  return file;
}

/** All files there are. */
export function memoryFiles(): readonly MemoryFile[] {
  return [...files.values()];
}

/** Calls `listener` with every change and barrier from now on; with nobody where it is undefined. */
export function recordHost(listener: ((event: HostEvent) => void) | undefined): void {
  record = listener;
}

/**
 * From now on files take so many bytes more, and then ENOSPC; undefined for as many as there are.
 *
 * @param punches whether the host can punch holes meanwhile
 */
export function fillHost(bytes: number | undefined, punches = true): void {
  room = bytes ?? Infinity;
  canPunch = punches;
}

/** How many files are open. */
export function openCount(): number {
  return open.size;
}

function isInMemory(path: unknown): path is string {
  return (
    path === MEMORY_FOLDER || (typeof path === 'string' && path.startsWith(`${MEMORY_FOLDER}/`))
  );
}

function existing(path: string): MemoryFile {
  const file = files.get(path);
  if (file !== undefined) return file;
  throw Object.assign(new Error(`ENOENT: no such file, '${path}'`), { code: 'ENOENT' });
}

function statsOf(file: MemoryFile) {
  return {
    dev: 0,
    ino: file.inode,
    size: file.length,
    blocks: Math.ceil(file.length / 512),
    isFile: () => true,
    isBlockDevice: () => false,
    isDirectory: () => false,
  };
}

function opened(fd: number): MemoryFile {
  const file = open.get(fd);
  if (file === undefined) throw Object.assign(new Error('EBADF: closed'), { code: 'EBADF' });
  return file;
}

/** `node:fs` with the files in memory before the real ones. */
export function fsInMemory(real: typeof NodeFs): object {
  return {
    ...real,
    openSync(path: string, flags: string | number): number {
      if (!isInMemory(path)) return real.openSync(path, flags);
      const file = existing(path);
      nextFd += 1;
      open.set(nextFd, file);
      return nextFd;
    },
    closeSync(fd: number): void {
      if (fd < FIRST_FD) real.closeSync(fd);
      else if (!open.delete(fd)) opened(fd);
    },
    fstatSync: (fd: number) => (fd < FIRST_FD ? real.fstatSync(fd) : statsOf(opened(fd))),
    statSync(path: string, options?: { throwIfNoEntry: false }) {
      if (!isInMemory(path)) return real.statSync(path, options);
      return options === undefined || files.has(path) ? statsOf(existing(path)) : undefined;
    },
    opendirSync(path: string, options?: OpenDirOptions) {
      if (!isInMemory(path)) return real.opendirSync(path, options);
      const names = [...files.keys()].map((each) => each.slice(path.length + 1));
      const entries = names.map((name) => ({ name, isFile: () => true }));
      return { readSync: () => entries.shift() ?? null, closeSync: () => undefined };
    },
    readSync(fd: number, target: Buffer, offset: number, length: number, position: number): number {
      if (fd < FIRST_FD) return real.readSync(fd, target, offset, length, position);
      return opened(fd).read(target, offset, length, position);
    },
    accessSync(path: string, mode: number): void {
      if (isInMemory(path)) existing(path);
      else real.accessSync(path, mode);
    },
    ftruncateSync(fd: number, length: number): void {
      if (fd < FIRST_FD) {
        real.ftruncateSync(fd, length);
        return;
      }
      const file = opened(fd);
      record?.({ kind: 'length', file, length });
      file.setLength(length);
    },
    realpathSync: Object.assign(
      (path: string) => (isInMemory(path) ? path : real.realpathSync(path)),
      {
        native: (path: string, options: { encoding: 'buffer' }) =>
          isInMemory(path) ? Buffer.from(path) : real.realpathSync.native(path, options),
      },
    ),
    readlinkSync(path: string, options: { encoding: 'buffer' }): Buffer {
      const fd = Number(path.replace('/proc/self/fd/', ''));
      return fd >= FIRST_FD ? Buffer.from(opened(fd).path) : real.readlinkSync(path, options);
    },
  };
}

/** `src/os/file-io.ts` with the files in memory before the real ones. */
export function fileIoInMemory(real: typeof FileIo): typeof FileIo {
  return {
    ...real,
    readAt(fd, target, targetOffset, length, position, path) {
      if (fd < FIRST_FD) return real.readAt(fd, target, targetOffset, length, position, path);
      return opened(fd).read(target, targetOffset, length, position);
    },
    writeAt(fd, source, sourceOffset, length, position, path) {
      if (fd < FIRST_FD) return real.writeAt(fd, source, sourceOffset, length, position, path);
      const file = opened(fd);
      const count = Math.min(length, room);
      if (count === 0) throw systemError('ENOSPC', `${path}: no space left on device`);
      room -= count;
      const bytes = Buffer.from(source.subarray(sourceOffset, sourceOffset + count));
      record?.({ kind: 'change', file, position, length: count, bytes });
      file.write(bytes, position);
      return count;
    },
    punchHole(fd, position, length, path) {
      if (fd < FIRST_FD) return real.punchHole(fd, position, length, path);
      if (!canPunch) return false;
      const file = opened(fd);
      record?.({ kind: 'change', file, position, length, bytes: undefined });
      file.punch(position, length);
      return true;
    },
    syncData(fd) {
      if (fd < FIRST_FD) real.syncData(fd);
      else record?.({ kind: 'barrier', file: opened(fd) });
    },
    // Holes are not known of these files: everything may be data.
    seekData: (fd, position, limit) =>
      fd < FIRST_FD ? real.seekData(fd, position, limit) : position,
    seekHole: (fd, position, limit) => (fd < FIRST_FD ? real.seekHole(fd, position, limit) : limit),
  };
}
