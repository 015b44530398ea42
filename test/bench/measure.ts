/** Measuring: every subject at every job, in turns. */
import { join } from 'node:path';
import type { Disks } from './disks.js';
import { fioRate } from './fio.js';
import type { Job } from './jobs.js';
import { messageOf } from './programs.js';
import { rotated } from './statistics.js';
import type { OpenDisk, Subject, SubjectName } from './subjects.js';

const TRIAL_BYTES = 1024 * 1024;

/** What measuring needs to know. */
export interface Bench {
  readonly folder: string;
  readonly disks: Disks;
  readonly runs: number;
  /** Size of the disks. */
  readonly bytes: number;
  /** How long jobs run that time ends. */
  readonly seconds: number;
  readonly interrupt: AbortSignal;
}

/** The rate of one subject at one job in one run, in the job's unit. */
export interface Measurement {
  readonly run: number;
  readonly job: Job;
  readonly subject: SubjectName;
  readonly rate: number;
}

/**
 * Those of `subjects` that can open and close a small disk.
 *
 * @param leftOut is told of the others, and why
 */
export async function usableSubjects(
  bench: Bench,
  subjects: readonly Subject[],
  leftOut: (name: SubjectName, reason: string) => void,
): Promise<Subject[]> {
  const usable: Subject[] = [];
  for (const subject of subjects) {
    bench.interrupt.throwIfAborted();
    try {
      await withDisk(bench, subject, { disk: 'fresh', bytes: TRIAL_BYTES }, () =>
        Promise.resolve(),
      );
      usable.push(subject);
    } catch (error) {
      leftOut(subject.name, messageOf(error));
    }
  }
  return usable;
}

/**
 * Measures in turns: for each run, for each job, each subject, begun with another one every run,
 * so that what changes on the machine meanwhile hits them all.
 *
 * @throws Error of the first thing that fails, with nothing left mounted or running
 */
export async function* measureAll(
  bench: Bench,
  jobs: readonly Job[],
  subjects: readonly Subject[],
): AsyncGenerator<Measurement, void, undefined> {
  for (let run = 0; run < bench.runs; run++) {
    for (const job of jobs) {
      const compared = subjects.filter(({ name }) => job.subjects.includes(name));
      for (const subject of rotated(compared, run)) {
        bench.interrupt.throwIfAborted();
        yield { run, job, subject: subject.name, rate: await measure(bench, job, subject) };
      }
    }
  }
}

async function measure(bench: Bench, job: Job, subject: Subject): Promise<number> {
  const { folder, interrupt, seconds } = bench;
  const blockList = join(folder, 'blocks.log');
  const bytes = Math.min(bench.bytes, job.maxBytes ?? bench.bytes);
  const needs = { disk: job.disk, bytes, readOnly: job.readOnly === true };
  try {
    return await withDisk(bench, subject, needs, ({ file, hasOwnCache }) =>
      fioRate(job, { file, bytes, seconds, dropsCache: hasOwnCache, blockList }, interrupt),
    );
  } catch (error) {
    interrupt.throwIfAborted();
    throw new Error(`${job.name}: ${subject.name}: ${messageOf(error)}`, { cause: error });
  }
}

/** Lets `use` have a disk that is made and opened for it, and closed behind it. */
async function withDisk<T>(
  { disks, folder }: Bench,
  subject: Subject,
  needs: { disk: Job['disk']; bytes: number; readOnly?: boolean },
  use: (disk: OpenDisk) => Promise<T>,
): Promise<T> {
  try {
    const path = await disks.make(needs.disk, subject.form, needs.bytes);
    const disk = await subject.open({ path, folder, readOnly: needs.readOnly === true });
    try {
      return await use(disk);
    } finally {
      await disk.close();
    }
  } finally {
    await disks.discard();
  }
}
