/** tsc writes files without the execute bit, which `npm link` and a path to dist/ need. */
import { chmodSync } from 'node:fs';

chmodSync(new URL('../dist/cli/main.js', import.meta.url), 0o755);
