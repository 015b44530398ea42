/** The worker that brings writes to disk at least once a second, and closes the image in the end. */
import { parentPort, workerData } from 'node:worker_threads';
import { runFlushLoop, type FlushWorkerData } from './flush-timer.js';

if (parentPort !== null) runFlushLoop(workerData as FlushWorkerData, parentPort);
