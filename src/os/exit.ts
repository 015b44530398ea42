/** Ending a process that has threads blocked in the kernel. */
import { loadedLibc } from './libc.js';

/**
 * Ends the process now, whatever still runs in it: fuse-native keeps the event loop alive after its
 * mount has ended, and `process.exit` waits for worker threads, for ever where one is blocked in a
 * read of /dev/fuse; exit_group(2) does not.
 */
export function exitNow(code = Number(process.exitCode ?? 0)): never {
  loadedLibc()?._exit(code);
  process.exit(code);
}
