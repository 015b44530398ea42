/** Ending a process that has threads blocked in the kernel. */
import { loadedLibc } from './libc.js';

/**
 * Ends the process now. `process.exit` waits for worker threads, for ever where one is blocked in a
 * read of /dev/fuse; exit_group(2) does not.
 */
export function exitNow(code: number): never {
  loadedLibc()?._exit(code);
  process.exit(code);
}
