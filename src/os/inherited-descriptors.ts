/** Descriptors that a caller left open for us, which a server must not keep. */
import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { O_CLOEXEC } from '../file-flags.js';

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

function isInherited(fd: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  } catch {
    return false; // closed since the folder was read
  }
}
