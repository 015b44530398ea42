/**
 * What a server that has left its terminal says, kept for `vmdkfs unmount`: a file named after the
 * mountpoint and the process, which goes with a clean end. Whatever ends a server without one,
 * Node's own last words included, can be read there until the next mount in the same place. A server
 * whose mount was detached lives on beside the next one there, and each has its own file.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync } from 'node:fs';
import { join } from 'node:path';
import { lstatSync, openSync, readdirSync, readFileSync, rmSync } from '../os/host-fs.js';
import { describeError, printable } from '../errno.js';
import { isRunning } from '../os/running-process.js';
import { log, logTo } from './log.js';
import { makeRuntimeFolder, runtimeFolder } from './runtime-folder.js';

/** So many lines are shown, of the last so many bytes. */
const LINES_MAX = 5;
const BYTES_MAX = 1024 * 1024;

/** The last words of one server. */
interface Kept {
  readonly path: string;
  readonly pid: number;
  readonly isRunning: boolean;
  /** When something was said last, milliseconds since 1970. */
  readonly modified: number;
}

function prefixOf(mountpoint: string): string {
  return createHash('sha256').update(mountpoint).digest('hex').slice(0, 16);
}

function ownPath(folder: string, mountpoint: string): string {
  return join(folder, `${prefixOf(mountpoint)}.${process.pid}.log`);
}

/** What servers on `mountpoint` have left. */
function allKept(folder: string, mountpoint: string): Kept[] {
  const prefix = prefixOf(mountpoint);
  return namesIn(folder).flatMap((name): Kept[] => {
    const [start, id, ending, ...rest] = name.split('.');
    if (start !== prefix || ending !== 'log' || rest.length > 0) return [];
    const [path, pid] = [join(folder, name), Number(id)];
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return [];
    return [{ path, pid, isRunning: isRunning(pid), modified: stats.mtimeMs }];
  });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // nothing is kept, or it is not for us
  }
}

/**
 * Takes the log of this process from the caller's terminal to `file`, or to where it is kept.
 *
 * @param mountpoint absolute path without links
 */
export function leaveTerminal(mountpoint: string, file: string | undefined): void {
  const kept = keptFile(mountpoint);
  try {
    logTo(kept ?? '/dev/null', false);
    if (file === undefined) return;
    // Who looks there is led on.
    log(`the log is ${file}`);
    logTo(file, true);
  } catch (error) {
    log(describeError(error));
  }
}

/** An empty file for this process; those of processes that are gone are gone too. */
function keptFile(mountpoint: string): string | undefined {
  try {
    const folder = makeRuntimeFolder();
    const own = ownPath(folder, mountpoint);
    for (const { isRunning, path } of allKept(folder, mountpoint)) {
      if (!isRunning || path === own) rmSync(path, { force: true });
    }
    return own;
  } catch {
    return undefined; // the control socket has said why
  }
}

/**
 * The last lines that a server of `userId` on `mountpoint` has left, and forgets them; undefined
 * where there are none, as after a clean end.
 *
 * @param pid the server's process, where that is known; else the last one that is gone is meant
 */
export function takeLastLines(
  userId: number,
  mountpoint: string,
  pid: number | undefined,
): string[] | undefined {
  const isMeant = (kept: Kept): boolean => (pid === undefined ? !kept.isRunning : kept.pid === pid);
  const meant = allKept(runtimeFolder(userId), mountpoint).filter(isMeant);
  const [last] = meant.sort((a, b) => b.modified - a.modified);
  if (last === undefined) return undefined;
  const lines = linesOf(last.path, userId);
  forget(last.path);
  return lines;
}

function linesOf(path: string, userId: number): string[] | undefined {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let fd: number | undefined;
  try {
    fd = openSync(path, flags);
    const stats = fstatSync(fd);
    if (!stats.isFile() || stats.uid !== userId || stats.size > BYTES_MAX) {
      return undefined;
    }
    const lines = readFileSync(fd, 'utf8').split('\n');
    return lines
      .filter((line) => line !== '')
      .slice(-LINES_MAX)
      .map(printable);
  } catch {
    return undefined; // nothing is kept
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Removes what this process has kept: it ends cleanly. */
export function forgetOwnWords(mountpoint: string): void {
  forget(ownPath(runtimeFolder(process.getuid?.() ?? 0), mountpoint));
}

function forget(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Not ours.
  }
}
