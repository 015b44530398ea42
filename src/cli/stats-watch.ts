/** `vmdkfs stats --watch`: what a mount does, interval by interval. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineCounts } from '../block/layer-counters.js';
import { REQUEST_KINDS, type RequestCounts, type RequestKind } from '../fuse/request-counters.js';
import type { MountStatus } from '../mount/mount-status.js';
import { isStillMounted, type MountEntry } from '../os/mount-table.js';
import { print } from './output.js';
import { printNotices, type ReportFlags } from './report.js';
import { formatSizeShort } from './size.js';
import { formatRow } from './table.js';

/** Lines between two headings. */
const PAGE_LINES = 20;

export interface WatchOptions extends ReportFlags {
  /** Length of an interval. */
  readonly seconds: number;
  /** Asks the server. */
  readonly ask: (entry: MountEntry) => Promise<MountStatus>;
}

/**
 * Prints a line every interval until the image is unmounted, a signal comes, or nobody reads.
 *
 * @throws the error of `ask` while the image is mounted
 */
export async function watchStats(
  entry: MountEntry,
  first: MountStatus,
  options: WatchOptions,
): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      stop.abort();
    });
  }
  let before = { status: first, at: performance.now() };
  for (let line = 0; await pause(options.seconds, stop.signal); line++) {
    const status = await askWhileMounted(entry, options.ask);
    if (status === undefined) {
      printNotices(options, [`${entry.mountpoint}: was unmounted`]);
      return;
    }
    const now = { status, at: performance.now() };
    const change = changeBetween(before.status, status, (now.at - before.at) / 1000);
    const heading = line % PAGE_LINES === 0 ? [formatHeading()] : [];
    const lines =
      options.json === true ? [JSON.stringify(change)] : [...heading, formatChange(change)];
    if (!print(...lines)) return;
    before = now;
  }
}

/** Waits; false where a signal came. */
async function pause(seconds: number, signal: AbortSignal): Promise<boolean> {
  await sleep(seconds * 1000, undefined, { signal }).catch(() => undefined);
  return !signal.aborted;
}

async function askWhileMounted(
  entry: MountEntry,
  ask: WatchOptions['ask'],
): Promise<MountStatus | undefined> {
  if (!isStillMounted(entry)) return undefined;
  try {
    return await ask(entry);
  } catch (error) {
    if (isStillMounted(entry)) throw error;
    return undefined;
  }
}

type Counts = Omit<RequestCounts, 'latency'>;

/** The JSON shape of a line: what was added in an interval; bytes, and times in microseconds. */
interface Change {
  /** The end of the interval, ISO 8601. */
  readonly time: string;
  /** Its length. */
  readonly seconds: number;
  /** Bytes that take up space now. */
  readonly allocated: number;
  readonly requests: Readonly<Record<RequestKind, Counts>>;
  readonly engine: EngineCounts;
}

function changeBetween(before: MountStatus, after: MountStatus, seconds: number): Change {
  const requests = REQUEST_KINDS.map((kind) => {
    const { bytes, errors, microseconds, requests } = after.requests[kind];
    return [kind, minus({ requests, errors, bytes, microseconds }, before.requests[kind])];
  });
  return {
    time: new Date().toISOString(),
    seconds: Math.round(seconds * 1000) / 1000,
    allocated: after.allocated,
    requests: Object.fromEntries(requests) as Record<RequestKind, Counts>,
    engine: minus(after.engine, before.engine),
  };
}

/** The differences of all numbers of `after`, to two places. */
function minus<T extends { readonly [name in keyof T]: number }>(
  after: T,
  before: { readonly [name in keyof T]: number },
): T {
  const names = Object.keys(after) as (keyof T)[];
  const differences = names.map((name) => [
    name,
    Math.round((after[name] - before[name]) * 100) / 100,
  ]);
  return Object.fromEntries(differences) as T;
}

/** Columns of the table. */
const COLUMNS: readonly { title: string; width: number; cell: (change: Change) => string }[] = [
  { title: 'reads/s', width: 8, cell: (change) => rate(change, change.requests.read.requests) },
  { title: 'read/s', width: 10, cell: (change) => bytes(change, change.requests.read.bytes) },
  { title: 'us', width: 7, cell: ({ requests }) => mean(requests.read) },
  { title: 'writes/s', width: 9, cell: (change) => rate(change, change.requests.write.requests) },
  { title: 'written/s', width: 10, cell: (change) => bytes(change, change.requests.write.bytes) },
  { title: 'us', width: 7, cell: ({ requests }) => mean(requests.write) },
  { title: 'syncs/s', width: 8, cell: (change) => rate(change, syncs(change).requests) },
  { title: 'us', width: 8, cell: (change) => mean(syncs(change)) },
  { title: 'grains/s', width: 8, cell: (change) => rate(change, change.engine.grainsAllocated) },
  { title: 'errors', width: 6, cell: ({ requests }) => String(errors(requests)) },
];

const WIDTHS = COLUMNS.map(({ width }) => width);

function formatHeading(): string {
  return formatRow(
    COLUMNS.map(({ title }) => title),
    WIDTHS,
  );
}

function formatChange(change: Change): string {
  return formatRow(
    COLUMNS.map(({ cell }) => cell(change)),
    WIDTHS,
  );
}

function rate({ seconds }: Change, count: number): string {
  return String(Math.round(count / Math.max(seconds, 0.001)));
}

function bytes({ seconds }: Change, count: number): string {
  return count === 0 ? '0' : formatSizeShort(Math.round(count / Math.max(seconds, 0.001)));
}

/** How long a request took, on average. */
function mean({ microseconds, requests }: Pick<Counts, 'microseconds' | 'requests'>): string {
  return requests === 0 ? '-' : String(Math.round((microseconds / requests) * 10) / 10);
}

/** Closing a file makes its data durable as fsync does. */
function syncs({ requests }: Change): Pick<Counts, 'microseconds' | 'requests'> {
  const { flush, fsync } = requests;
  return {
    requests: flush.requests + fsync.requests,
    microseconds: flush.microseconds + fsync.microseconds,
  };
}

/** Errors of requests for data; those of others are mostly answers (no such name, no more data). */
function errors({ fallocate, flush, fsync, read, write }: Change['requests']): number {
  return [read, write, fsync, flush, fallocate].reduce((sum, each) => sum + each.errors, 0);
}
