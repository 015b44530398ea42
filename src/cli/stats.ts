/** `vmdkfs stats MOUNTPOINT [--watch] [--interval S] [--json]`. */
import type { Command } from 'commander';
import { systemError } from '../errno.js';
import { REQUEST_KINDS } from '../fuse/request-counters.js';
import { UsageError } from '../mount/mount-error.js';
import { askStatus, type MountStatus } from '../mount/mount-status.js';
import { mountedImage } from '../mount/mountpoint.js';
import type { MountEntry } from '../os/mount-table.js';
import { userName } from '../os/user-name.js';
import { addReportOptions, printResult, type ReportFlags } from './report.js';
import { formatSize, formatSizeShort } from './size.js';
import { watchStats } from './stats-watch.js';
import { formatTable, type Column } from './table.js';
import { formatDuration, localTime } from './time.js';

interface StatsFlags extends ReportFlags {
  readonly watch?: true;
  /** Seconds. */
  readonly interval?: number;
}

const INTERVAL_DEFAULT = 1;
const INTERVAL_MIN = 0.1;
const INTERVAL_MAX = 86_400;

const HELP = `
Requests are what the kernel asks the server for: fewer than programs read and write where the kernel
has the data itself. Times are those that the server takes, waiting for the storage included.`;

/** Adds the command to the program. */
export function addStatsCommand(program: Command): void {
  const command = program
    .command('stats')
    .summary('show what a mount has done')
    .description(
      'Show the counters of a mount: requests, bytes, errors and times by kind, and what the engine did for them. With --watch, what changes in every interval, until the image is unmounted.',
    )
    .argument('<mountpoint>', 'where the image is mounted')
    .option('-w, --watch', 'print a line every interval')
    .option(
      '--interval <seconds>',
      `length of an interval (default: ${INTERVAL_DEFAULT}); implies --watch`,
      parseInterval,
    )
    .addHelpText('after', HELP)
    .action(stats);
  addReportOptions(command);
}

/** @throws UsageError */
function parseInterval(text: string): number {
  const seconds = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : 0;
  if (seconds >= INTERVAL_MIN && seconds <= INTERVAL_MAX) return seconds;
  throw new UsageError(
    `${JSON.stringify(text)} is no interval (${INTERVAL_MIN} to ${INTERVAL_MAX} seconds expected)`,
  );
}

async function stats(path: string, flags: StatsFlags): Promise<void> {
  const entry = mountedImage(path);
  const status = await statusOf(entry);
  if (flags.watch === true || flags.interval !== undefined) {
    const seconds = flags.interval ?? INTERVAL_DEFAULT;
    await watchStats(entry, status, { ...flags, seconds, ask: statusOf });
    return;
  }
  printResult(flags, toJson(entry, status), format(entry, status));
}

/** @throws an error that says why the server does not answer, and what to do */
async function statusOf(entry: MountEntry): Promise<MountStatus> {
  const asked = await askStatus(entry);
  switch (asked.state) {
    case 'mounted':
      return asked.status;
    case 'forbidden':
      throw systemError('EACCES', `${entry.mountpoint}: ${asked.reason}`);
    case 'dead': {
      const help = `clean up with: vmdkfs unmount ${entry.mountpoint}`;
      throw systemError('EIO', `${entry.mountpoint}: ${asked.reason}; ${help}`);
    }
    case 'silent':
      throw systemError('EIO', `${entry.mountpoint}: ${asked.reason}`);
  }
}

/** The JSON shape; sizes in bytes, times in microseconds. */
function toJson(entry: MountEntry, status: MountStatus): unknown {
  const { mountpoint, userId } = entry;
  return { mountpoint, user: userName(userId) ?? null, userId, ...status };
}

const COLUMNS: readonly Column[] = [
  { title: 'REQUESTS', align: 'left' },
  { title: 'COUNT', align: 'right' },
  { title: 'ERRORS', align: 'right' },
  { title: 'BYTES', align: 'right' },
  { title: 'P50', align: 'right' },
  { title: 'P90', align: 'right' },
  { title: 'P99', align: 'right' },
  { title: 'MAX', align: 'right' },
];

function format(entry: MountEntry, status: MountStatus): string[] {
  const mode = status.readOnly ? 'read-only' : 'read-write';
  const user = userName(entry.userId) ?? String(entry.userId);
  const threads = `${status.workers} ${status.workers === 1 ? 'thread' : 'threads'}`;
  return [
    `image:      ${status.image}`,
    `mountpoint: ${entry.mountpoint}, ${mode}, by ${user} since ${localTime(status.started)}`,
    `server:     pid ${status.pid}, ${status.transport} transport, ${threads}${status.writebackCache ? ', writeback cache' : ''}`,
    `size:       ${formatSize(status.size)}`,
    `allocated:  ${formatSize(status.allocated)}`,
    ...(status.passthrough
      ? ['reads:      by the kernel itself (passthrough), and so not counted']
      : []),
    '',
    ...formatTable(COLUMNS, requestRows(status)),
    '',
    ...engineLines(status),
  ];
}

function requestRows({ requests }: MountStatus): string[][] {
  return REQUEST_KINDS.flatMap((kind) => {
    const { bytes, errors, latency, requests: count } = requests[kind];
    if (count === 0) return [];
    const times =
      latency === null
        ? []
        : [latency.p50, latency.p90, latency.p99, latency.max].map(formatDuration);
    const moved = bytes === 0 ? '-' : formatSizeShort(bytes);
    return [[kind, String(count), String(errors), moved, ...times]];
  });
}

function engineLines({ engine }: MountStatus): string[] {
  const lookups = engine.cacheHits + engine.cacheMisses;
  return [
    `grains allocated:   ${engine.grainsAllocated}`,
    `copied from parent: ${engine.copyFills}`,
    `tables loaded:      ${engine.tableLoads}`,
    `flushes:            ${engine.flushes} (${engine.barriers} barriers)`,
    ...(lookups === 0
      ? []
      : [`inflated grains:    ${engine.cacheHits} of ${lookups} found in the cache`]),
  ];
}
