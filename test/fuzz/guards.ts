/** What is watched while an image is used: open files, the bytes of the image's files, memory. */
import { createHash } from 'node:crypto';
import fs, {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
} from 'node:fs';
import { readSync, realpathSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join, sep } from 'node:path';
import { seekData, seekHole } from '../../src/os/file-io.js';

/** Something that may not happen. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

let opened: string[] | undefined;

/** From now on `openedBy` sees which files are opened; for the start of a process. */
export function watchOpens(): void {
  const original = fs.openSync;
  fs.openSync = (path, flags, mode) => {
    if (typeof path === 'string') opened?.push(path);
    return original(path, flags, mode);
  };
  syncBuiltinESMExports();
}

/** Runs `action`; it may open files in `folder` only, also those that it closes again. */
export function withinFolder<Result>(folder: string, action: () => Result): Result {
  opened = [];
  try {
    return action();
  } finally {
    const paths = new Set(opened);
    opened = undefined;
    for (const path of paths) {
      if (!isInside(path, folder)) throw new Finding(`opened ${path}, outside the image's folder`);
    }
  }
}

function isInside(path: string, folder: string): boolean {
  return realpathSync(path).startsWith(folder + sep);
}

/** Descriptors that this process has open, and what they are. */
export function openFiles(): ReadonlyMap<number, string> {
  const files = new Map<number, string>();
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      files.set(Number(name), readlinkSync(`/proc/self/fd/${name}`));
    } catch {
      continue; // that of the listing itself
    }
  }
  return files;
}

/** Every file that is open now and was not `before` has to lie in `folder`. */
export function assertInside(folder: string, before: ReadonlyMap<number, string>): void {
  for (const [fd, path] of openFiles()) {
    if (before.get(fd) === path || path.startsWith(folder + sep)) continue;
    throw new Finding(`has ${path} open, outside the image's folder`);
  }
}

export function assertNothingLeft(before: ReadonlyMap<number, string>, when: string): void {
  for (const [fd, path] of openFiles()) {
    if (before.get(fd) !== path) throw new Finding(`${when}, ${path} is still open`);
  }
}

/** A hash of each file in a folder, its length included. */
export function hashes(folder: string): ReadonlyMap<string, string> {
  return new Map(readdirSync(folder).map((name) => [name, hash(join(folder, name))]));
}

export function assertUnchanged(
  folder: string,
  before: ReadonlyMap<string, string>,
  when: string,
): void {
  const now = hashes(folder);
  for (const name of new Set([...before.keys(), ...now.keys()])) {
    if (before.get(name) !== now.get(name)) throw new Finding(`${when}, ${name} is not as it was`);
  }
}

const CHUNK = Buffer.alloc(1024 * 1024);

function hash(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const sum = createHash('sha1').update(String(size));
    for (let at = seekData(fd, 0, size); at < size; at = seekData(fd, at, size)) {
      const end = seekHole(fd, at, size);
      sum.update(String(at));
      while (at < end) {
        const count = readSync(fd, CHUNK, 0, Math.min(CHUNK.length, end - at), at);
        sum.update(CHUNK.subarray(0, count));
        at += count;
      }
    }
    return sum.digest('hex');
  } finally {
    closeSync(fd);
  }
}

function kibibytes(field: string): number {
  const status = readFileSync('/proc/self/status', 'latin1');
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
}

/** Begins to watch the memory of this process; the result says how much more it has had at most, in bytes. */
export function watchMemory(): () => number {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    return () => 0; // a kernel that does not count
  }
  const before = kibibytes('VmRSS');
  return () => Math.max(0, kibibytes('VmHWM') - before) * 1024;
}
