/** Loading a shared library so that later ones find it by its name. */
import { constants } from 'node:os';

/** dlopen(3): the library stays in memory also after it was closed. The same in glibc and musl. */
const RTLD_NODELETE = 0x1000;

/**
 * Loads `path` for the life of the process. A library that is loaded satisfies every later one that
 * needs its soname, wherever the loader would have looked.
 *
 * @throws when it cannot be loaded
 */
export function preloadLibrary(path: string): void {
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch (error) {
    // It is no addon, and Node says so after it has loaded it.
    const message = error instanceof Error ? error.message : String(error);
    if (!message.startsWith('Module did not self-register')) throw error;
  }
}
