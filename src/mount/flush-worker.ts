/** The worker that brings writes to disk at least once a second, so that a crash loses no more. */
import { workerData } from 'node:worker_threads';
import { runFlushLoop, type FlushWorkerData } from './flush-timer.js';

runFlushLoop(workerData as FlushWorkerData);
