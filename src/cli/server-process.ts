/** The process that serves a mount in the background; started by `vmdkfs mount`. */
import { runServer } from '../mount/background.js';
import { exitNow } from '../os/exit.js';
import { exitCodeOf } from './exit-codes.js';

await runServer(process.argv[2] ?? '', exitCodeOf);
exitNow();
