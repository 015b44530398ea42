/** fio: its arguments for a workload, and the rate in its answer. */
import { writeFile } from 'node:fs/promises';
import { shuffled } from './filling.js';
import type { Job, Workload } from './jobs.js';
import { run } from './programs.js';

/** The usual grain. */
const GRAIN_BYTES = 64 * 1024;
/** Bytes of the file for each block that a workload `until` `blocks` writes. */
const BYTES_PER_BLOCK = 4 * GRAIN_BYTES;
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
  /** Where to put the list of blocks, for a workload that needs one. */
  readonly blockList: string;
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
  const { workload } = job;
  if (workload.until === 'grains') {
    await writeFile(target.blockList, blockOfEachGrain(workload.blockBytes, target.bytes));
  }
  return rateIn(job, await run('fio', fioArguments(workload, target), interrupt));
}

/** The arguments that make fio run `workload`. */
export function fioArguments(workload: Workload, target: FioTarget): string[] {
  return [
    '--name=bench',
    '--output-format=json',
    // One process, which can be killed as a whole.
    '--thread',
    `--filename=${escaped(target.file)}`,
    `--size=${Math.min(target.bytes, workload.within ?? target.bytes)}`,
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

function bounds(workload: Workload, target: FioTarget): string[] {
  const { bytes, seconds } = target;
  const runtime = `--runtime=${milliseconds(seconds)}`;
  switch (workload.until) {
    case 'whole':
      return [];
    case 'time':
      return ['--time_based', runtime, `--ramp_time=${milliseconds(RAMP_SECONDS)}`];
    case 'blocks':
      return [`--number_ios=${Math.ceil(bytes / BYTES_PER_BLOCK)}`, runtime];
    case 'grains':
      // The list has a name without a meaning instead of the file's, of which a colon is a part here.
      return [
        `--read_iolog=${escaped(target.blockList)}`,
        `--replay_redirect=${target.file}`,
        runtime,
      ];
  }
}

/** A colon separates files. */
function escaped(path: string): string {
  return path.replaceAll(':', '\\:');
}

/** A list for fio that reads one block of each grain of `bytes`, grains in random order. */
export function blockOfEachGrain(blockBytes: number, bytes: number): string {
  const reads = shuffled(Math.floor(bytes / GRAIN_BYTES)).map((grain) => {
    const inGrain = (grain * blockBytes) % GRAIN_BYTES;
    return `disk read ${grain * GRAIN_BYTES + inGrain} ${blockBytes}\n`;
  });
  return ['fio version 2 iolog\n', 'disk add\n', 'disk open\n', ...reads, 'disk close\n'].join('');
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
