/**
 * A file without a name: nobody else can open it, and however its process ends, nothing of it is
 * left. Where the file system cannot make one, a file loses its name before anything is in it.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { join } from 'node:path';
import { lstatSync, openSync, readdirSync, rmSync } from '../os/host-fs.js';
import { Errno, toErrno } from '../errno.js';

/** Of the kernel's generic ABI, which x64, arm64 and riscv64 share; it includes O_DIRECTORY. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** What file systems and kernels answer that know nothing of O_TMPFILE (open(2)). */
const NOT_KNOWN: readonly number[] = [-Errno.EOPNOTSUPP, -Errno.EISDIR, -Errno.EINVAL];

/** Only its owner may read it, whatever the umask. */
const MODE = 0o600;

/**
 * Opens a new file on the file system of `folder`, for reading and writing.
 *
 * @throws the system's error
 */
export function openNameless(folder: string): number {
  try {
    return openSync(folder, O_TMPFILE | constants.O_RDWR | constants.O_EXCL, MODE);
  } catch (error) {
    if (!NOT_KNOWN.includes(toErrno(error))) throw error;
    return openUnlinked(folder);
  }
}

/**
 * Opens a new file in `folder` and takes its name away at once. A process that is killed between the
 * two leaves the name of an empty file, which the next one removes.
 *
 * @throws the system's error
 */
export function openUnlinked(folder: string): number {
  removeStale(folder);
  const path = join(folder, `.vmdkfs-${process.pid}-${randomBytes(6).toString('hex')}`);
  const fd = openSync(path, 'wx+', MODE);
  rmSync(path);
  return fd;
}

/** Removes the empty files of this user that processes left which are no more. */
function removeStale(folder: string): void {
  for (const name of namesIn(folder)) {
    const pid = /^\.vmdkfs-(\d+)-[0-9a-f]{12}$/.exec(name)?.[1];
    if (pid === undefined || isRunning(Number(pid))) continue;
    const path = join(folder, name);
    try {
      const stats = lstatSync(path);
      if (stats.isFile() && stats.size === 0 && stats.uid === process.getuid?.()) rmSync(path);
    } catch {
      continue; // somebody else was faster
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not ours to list; whether a file can be made there shows next
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return toErrno(error) === -Errno.EPERM;
  }
}
