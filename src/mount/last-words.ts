/**
 * What a server that has left its terminal says, kept for `vmdkfs unmount`: a file named after the
 * mountpoint, which goes with a clean end. Whatever ends a server without one, Node's own last words
 * included, can be read there until the next mount in the same place.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, printable } from '../errno.js';
import { log, logTo } from './log.js';
import { makeRuntimeFolder, runtimeFolder } from './runtime-folder.js';

/** So many lines are shown, of the last so many bytes. */
const LINES_MAX = 5;
const BYTES_MAX = 1024 * 1024;

function pathOf(folder: string, mountpoint: string): string {
  const name = createHash('sha256').update(mountpoint).digest('hex').slice(0, 16);
  return join(folder, `${name}.log`);
}

/**
 * Takes the log of this process from the caller's terminal to `file`, or to where it is kept.
 *
 * @param mountpoint absolute path without links
 */
export function leaveTerminal(mountpoint: string, file: string | undefined): void {
  const kept = keptFile(mountpoint);
  try {
    if (kept !== undefined) rmSync(kept, { force: true });
    logTo(kept ?? '/dev/null', false);
    if (file === undefined) return;
    // Who looks there is led on.
    log(`the log is ${file}`);
    logTo(file, true);
  } catch (error) {
    log(describeError(error));
  }
}

function keptFile(mountpoint: string): string | undefined {
  try {
    return pathOf(makeRuntimeFolder(), mountpoint);
  } catch {
    return undefined; // the control socket has said why
  }
}

/** The last lines that the server of `userId` on `mountpoint` has left; undefined after a clean end. */
export function lastWords(userId: number, mountpoint: string): string[] | undefined {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let fd: number | undefined;
  try {
    fd = openSync(pathOf(runtimeFolder(userId), mountpoint), flags);
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

/** Removes what was kept. */
export function forgetLastWords(userId: number, mountpoint: string): void {
  try {
    rmSync(pathOf(runtimeFolder(userId), mountpoint), { force: true });
  } catch {
    // Not ours.
  }
}
