/** Files of the project that the benchmark uses. */
import { fileURLToPath } from 'node:url';

// This file runs compiled, as .bench/test/bench/paths.js.
const ROOT = new URL('../../../', import.meta.url);

/** The built command line program. */
export const CLI = fileURLToPath(new URL('dist/cli/main.js', ROOT));

/** The note that `--write` puts its table into. */
export const NOTE = fileURLToPath(new URL('native-notes/performance.md', ROOT));
