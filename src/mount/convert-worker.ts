/** A thread of a conversion; see `conversion.ts`. */
import { workerData } from 'node:worker_threads';
import { runConversion, type ConversionJob } from '../block/convert/conversion-job.js';
import { libcIfAny } from '../os/libc.js';

// Holes are found through it.
libcIfAny();
runConversion(workerData as ConversionJob);
