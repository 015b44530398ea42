/** Descriptors that pass from a program to those it starts. */
import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mayWrite, O_CLOEXEC } from '../file-flags.js';
import { libcIfAny } from './libc.js';

/** fcntl(2). */
const F_SETFD = 2;
const FD_CLOEXEC = 1;

/**
 * Closes every descriptor above `last` that would survive an exec. Node opens all of its own with
 * O_CLOEXEC, so what is left was inherited.
 */
export function closeInheritedDescriptors(last: number): void {
  for (const name of readdirSync('/proc/self/fdinfo')) {
    const fd = Number(name);
    if (fd > last && isInherited(fd)) closeSync(fd);
  }
}

/** Keeps `fd` from programs that this process starts, where there is a C library to ask. */
export function closeOnExec(fd: number): void {
  libcIfAny()?.fcntl(fd, F_SETFD, 'uintptr_t', FD_CLOEXEC);
}

function isInherited(fd: number): boolean {
  try {
    return (flagsOf(fd) & O_CLOEXEC) === 0;
  } catch {
    return false; // closed since the folder was read
  }
}

/** The flags a descriptor was opened with, as open(2) has them. */
function flagsOf(fd: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  const flags = /^flags:\s*([0-7]+)$/m.exec(text)?.[1];
  if (flags === undefined) throw new Error(`/proc/self/fdinfo/${fd} has no flags`);
  return Number.parseInt(flags, 8);
}

/**
 * Whether `fd` was given to this process by its caller, for writing. Node marks low descriptors as
 * its own when it starts, so what it opened itself is told by its kind: event descriptors, and pipes
 * of which this process has both ends.
 */
export function isGivenForWriting(fd: number): boolean {
  try {
    const link = readlinkSync(`/proc/self/fd/${fd}`);
    if (!mayWrite(flagsOf(fd)) || link.startsWith('anon_inode:')) return false;
    return !link.startsWith('pipe:') || countOf(link) === 1;
  } catch {
    return false; // not open
  }
}

function countOf(link: string): number {
  return readdirSync('/proc/self/fd').filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === link;
    } catch {
      return false; // closed since the folder was read
    }
  }).length;
}
