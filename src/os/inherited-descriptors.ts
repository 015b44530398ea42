/** Descriptors that pass from a program to those it starts. */
import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { O_CLOEXEC } from '../file-flags.js';
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
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  } catch {
    return false; // closed since the folder was read
  }
}
