/** The process that serves a mount in the background; started by `vmdkfs mount`. */
import { runServer } from '../mount/background.js';
import { exitNow } from '../os/exit.js';
import { ExitCode, exitCodeOf } from './exit-codes.js';

await runServer(process.argv[2] ?? '', exitCodeOf);
// fuse-native keeps the event loop alive after its mount has ended, and a thread that is blocked in
// the kernel would keep the process.
exitNow(Number(process.exitCode ?? ExitCode.OK));
