/** The jobs of the benchmark, as facts. */
import { CHAIN_IMAGES, type DiskKind } from './disks.js';
import type { SubjectName } from './subjects.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What fio does to the file. */
export interface Workload {
  /** As fio's `rw`. */
  readonly pattern: 'read' | 'write' | 'randread' | 'randwrite';
  readonly blockBytes: number;
  /** Whether it opens the file with O_DIRECT. */
  readonly direct: boolean;
  /** Requests under way at a time. */
  readonly depth: number;
  /**
   * When it ends: `whole`, the whole file was read or written; `time`, after the time asked for;
   * `blocks`, about every fourth grain was written, or after that time; `grains`, one block of each
   * grain was read, grains in random order, or after that time.
   */
  readonly until: 'whole' | 'time' | 'blocks' | 'grains';
  /** The part of the file that it keeps to, in bytes from its start; the whole file if undefined. */
  readonly within?: number;
  /** Whether an fsync at the end belongs to what is measured. */
  readonly endsWithFsync?: true;
}

/** A workload on a kind of disk, for some of the subjects. */
export interface Job {
  readonly name: string;
  readonly unit: 'MB/s' | 'IOPS';
  readonly disk: DiskKind;
  readonly workload: Workload;
  readonly subjects: readonly SubjectName[];
  /** The disk has no more bytes than that. */
  readonly maxBytes?: number;
  /** Whether the subjects `vmdkfs` and `vmdkfs libfuse` mount with `-o ro`. */
  readonly readOnly?: true;
}

const COMPARED: readonly SubjectName[] = ['vmdkfs', 'vmdkfs libfuse', 'qemu', 'floor', 'plain'];

/** Jobs that only read images of a kind that plain files are no match for. */
const MOUNTED: readonly SubjectName[] = ['vmdkfs', 'vmdkfs libfuse', 'qemu'];

const sequential = { blockBytes: MIB, direct: true, depth: 1, until: 'whole' } as const;
const random = { blockBytes: 4 * KIB, direct: true, depth: 1, until: 'time' } as const;

/** All jobs, in the order in which they run. */
export const JOBS: readonly Job[] = [
  {
    name: 'sequential read 1 MiB',
    unit: 'MB/s',
    disk: 'full',
    workload: { ...sequential, pattern: 'read', direct: false },
    subjects: COMPARED,
  },
  {
    name: 'sequential read 1 MiB O_DIRECT',
    unit: 'MB/s',
    disk: 'full',
    workload: { ...sequential, pattern: 'read' },
    subjects: COMPARED,
  },
  {
    name: 'random read 4 KiB O_DIRECT QD1',
    unit: 'IOPS',
    disk: 'full',
    workload: { ...random, pattern: 'randread' },
    subjects: COMPARED,
  },
  {
    name: 'random read 4 KiB O_DIRECT QD16',
    unit: 'IOPS',
    disk: 'full',
    workload: { ...random, pattern: 'randread', depth: 16 },
    subjects: COMPARED,
  },
  {
    name: 'sequential write 1 MiB O_DIRECT, allocating',
    unit: 'MB/s',
    disk: 'fresh',
    workload: { ...sequential, pattern: 'write' },
    subjects: COMPARED,
  },
  {
    name: 'sequential write 4 KiB and fsync, allocating',
    unit: 'MB/s',
    disk: 'fresh',
    workload: {
      ...sequential,
      pattern: 'write',
      blockBytes: 4 * KIB,
      direct: false,
      endsWithFsync: true,
    },
    subjects: ['vmdkfs writeback', ...COMPARED],
    maxBytes: 256 * MIB,
  },
  {
    name: 'random write 4 KiB O_DIRECT QD1, allocating',
    unit: 'IOPS',
    disk: 'fresh',
    workload: { ...random, pattern: 'randwrite', until: 'blocks' },
    subjects: COMPARED,
  },
  {
    name: 'random write 4 KiB O_DIRECT QD1, overwriting',
    unit: 'IOPS',
    disk: 'full',
    workload: { ...random, pattern: 'randwrite' },
    subjects: COMPARED,
  },
  {
    name: 'random write 4 KiB O_DIRECT QD1, copy on write',
    unit: 'IOPS',
    disk: 'child',
    workload: { ...random, pattern: 'randwrite', until: 'blocks' },
    subjects: COMPARED,
  },
  {
    name: 'flat: sequential read 1 MiB',
    unit: 'MB/s',
    disk: 'flat',
    workload: { ...sequential, pattern: 'read', direct: false },
    subjects: ['vmdkfs', 'vmdkfs writable', 'qemu', 'plain'],
    readOnly: true,
  },
  {
    name: 'streamOptimized: sequential read 1 MiB',
    unit: 'MB/s',
    disk: 'stream',
    workload: { ...sequential, pattern: 'read', direct: false },
    subjects: MOUNTED,
    readOnly: true,
  },
  ...[1, 16].map((depth): Job => ({
    name: `streamOptimized: random read 4 KiB O_DIRECT QD${depth} in 16 MiB`,
    unit: 'IOPS',
    disk: 'stream',
    workload: { ...random, pattern: 'randread', depth, within: 16 * MIB },
    subjects: MOUNTED,
    readOnly: true,
  })),
  ...[1, 16].map((depth): Job => ({
    name: `streamOptimized: random read 4 KiB O_DIRECT QD${depth}, cold`,
    unit: 'IOPS',
    disk: 'stream',
    workload: { ...random, pattern: 'randread', depth, until: 'grains' },
    subjects: MOUNTED,
    readOnly: true,
  })),
  ...(['child', 'chain'] as const).map((disk): Job => ({
    name: `chain of ${disk === 'child' ? 2 : CHAIN_IMAGES}: random read 4 KiB O_DIRECT QD1`,
    unit: 'IOPS',
    disk,
    workload: { ...random, pattern: 'randread' },
    subjects: MOUNTED,
    readOnly: true,
  })),
];
