/** fio: its arguments for a workload, and the rate in its answer. */
import type { Job, Workload } from './jobs.js';
import { run } from './programs.js';

/** Bytes of the file for each block that a workload `until` `blocks` writes. */
const BYTES_PER_BLOCK = 4 * 64 * 1024;
const RAMP_SECONDS = 0.5;

/** The file that fio works on. */
export interface FioTarget {
  readonly file: string;
  /** Whether to drop the cached pages of the file first. */
  readonly dropsCache: boolean;
  /** Size of the file. */
  readonly bytes: number;
  /** How long workloads run that time ends. */
  readonly seconds: number;
}

/** One direction of a job in fio's JSON. */
interface FioDirection {
  readonly bw_bytes: number;
  readonly iops: number;
}

/** The part of fio's JSON that is used. */
interface FioReport {
  readonly jobs: readonly { error: number; read: FioDirection; write: FioDirection }[];
}

/**
 * Runs a job's workload; its rate in the unit of the job (MB/s: 10^6 bytes a second).
 *
 * @throws Error where fio fails or has done nothing
 */
export async function fioRate(
  job: Job,
  target: FioTarget,
  interrupt: AbortSignal,
): Promise<number> {
  return rateIn(job, await run('fio', fioArguments(job.workload, target), interrupt));
}

/** The arguments that make fio run `workload`. */
export function fioArguments(workload: Workload, target: FioTarget): string[] {
  return [
    '--name=bench',
    '--output-format=json',
    // One process, which can be killed as a whole.
    '--thread',
    // A colon separates files.
    `--filename=${target.file.replaceAll(':', '\\:')}`,
    `--size=${target.bytes}`,
    '--allow_file_create=0',
    `--invalidate=${target.dropsCache ? 1 : 0}`,
    `--rw=${workload.pattern}`,
    `--bs=${workload.blockBytes}`,
    `--direct=${workload.direct ? 1 : 0}`,
    `--ioengine=${workload.depth > 1 ? 'libaio' : 'psync'}`,
    `--iodepth=${workload.depth}`,
    `--end_fsync=${workload.endsWithFsync === true ? 1 : 0}`,
    ...bounds(workload, target),
  ];
}

function bounds(workload: Workload, { bytes, seconds }: FioTarget): string[] {
  const runtime = `--runtime=${milliseconds(seconds)}`;
  switch (workload.until) {
    case 'whole':
      return [];
    case 'time':
      return ['--time_based', runtime, `--ramp_time=${milliseconds(RAMP_SECONDS)}`];
    case 'blocks':
      return [`--number_ios=${Math.ceil(bytes / BYTES_PER_BLOCK)}`, runtime];
  }
}

function milliseconds(seconds: number): string {
  return `${Math.round(seconds * 1000)}ms`;
}

/**
 * The rate in what fio printed.
 *
 * @throws Error where it is none
 */
export function rateIn({ unit, workload }: Job, output: string): number {
  // Notes for people may stand before the JSON.
  const report = JSON.parse(output.slice(output.indexOf('{'))) as FioReport;
  const [job] = report.jobs;
  const done = workload.pattern.endsWith('read') ? job?.read : job?.write;
  const rate = unit === 'IOPS' ? done?.iops : (done?.bw_bytes ?? 0) / 1e6;
  if (job?.error === 0 && rate !== undefined && rate > 0) return rate;
  throw new Error(`fio measured nothing: ${output}`);
}
