/** `vmdkfs list [--json]`. */
import type { Command } from 'commander';
import { askStatus, type AskedStatus, type MountStatus } from '../mount/mount-status.js';
import { isStillMounted, readMountTable, type MountEntry } from '../os/mount-table.js';
import { userName } from '../os/user-name.js';
import { addReportOptions, printNotices, printResult, type ReportFlags } from './report.js';
import { formatSizeShort } from './size.js';
import { formatTable, type Column } from './table.js';
import { localTime } from './time.js';

const COLUMNS: readonly Column[] = [
  { title: 'MOUNTPOINT', align: 'left' },
  { title: 'STATE', align: 'left' },
  { title: 'USER', align: 'left' },
  { title: 'PID', align: 'right' },
  { title: 'SINCE', align: 'left' },
  { title: 'SIZE', align: 'right' },
  { title: 'READ', align: 'right' },
  { title: 'WRITTEN', align: 'right' },
  { title: 'IMAGE', align: 'left' },
];

/** Adds the command to the program. */
export function addListCommand(program: Command): void {
  const command = program
    .command('list')
    .alias('ls')
    .summary('show what is mounted where')
    .description(
      'Show the mounted images: where, by whom and since when, and how much was read and written. Mounts whose server has died or does not answer are shown as such.',
    )
    .action(list);
  addReportOptions(command);
}

async function list(flags: ReportFlags): Promise<void> {
  const entries = visible(readMountTable()).filter(({ type }) => type === 'fuse.vmdkfs');
  // All at once: one that hangs must not make the others wait.
  const asked = await Promise.all(
    entries.map(async (entry) => ({ entry, answer: await askStatus(entry) })),
  );
  // One that has no answer may have been unmounted while it was asked.
  const mounts = asked
    .filter(({ answer, entry }) => answer.state === 'mounted' || isStillMounted(entry))
    .map(({ answer, entry }) => describe(entry, answer));
  if (mounts.length === 0 && flags.json !== true) {
    printNotices(flags, ['no image is mounted']);
    return;
  }
  printResult(flags, { mounts }, format(mounts));
}

/** The mounts on top: what another one covers cannot be reached. */
function visible(table: readonly MountEntry[]): MountEntry[] {
  const byPath = new Map(table.map((entry) => [entry.mountpoint, entry]));
  return [...byPath.values()];
}

/** The JSON shape; sizes in bytes. What only the server knows is null where it does not answer. */
interface MountInfo {
  readonly mountpoint: string;
  readonly image: string;
  readonly state: AskedStatus['state'];
  /** Why the server does not answer. */
  readonly reason: string | null;
  readonly user: string | null;
  readonly userId: number;
  readonly pid: number | null;
  readonly started: string | null;
  readonly readOnly: boolean | null;
  readonly transport: string | null;
  readonly size: number | null;
  readonly allocated: number | null;
  readonly bytesRead: number | null;
  readonly bytesWritten: number | null;
}

function describe(entry: MountEntry, asked: AskedStatus): MountInfo {
  const { mountpoint, userId } = entry;
  return {
    mountpoint,
    image: asked.state === 'mounted' ? asked.status.image : entry.source,
    state: asked.state,
    reason: asked.state === 'mounted' ? null : asked.reason,
    user: userName(userId) ?? null,
    userId,
    ...(asked.state === 'mounted' ? factsOf(asked.status) : UNKNOWN),
  };
}

type ServerFacts = Omit<MountInfo, 'mountpoint' | 'image' | 'state' | 'reason' | 'user' | 'userId'>;

const UNKNOWN: ServerFacts = {
  pid: null,
  started: null,
  readOnly: null,
  transport: null,
  size: null,
  allocated: null,
  bytesRead: null,
  bytesWritten: null,
};

function factsOf(status: MountStatus): ServerFacts {
  const { allocated, pid, readOnly, requests, size, started, transport } = status;
  return {
    ...{ pid, started, readOnly, transport, size, allocated },
    bytesRead: requests.read.bytes,
    bytesWritten: requests.write.bytes,
  };
}

function format(mounts: readonly MountInfo[]): string[] {
  const rows = mounts.map((mount) => [
    mount.mountpoint,
    stateOf(mount),
    mount.user ?? String(mount.userId),
    mount.pid === null ? '-' : String(mount.pid),
    mount.started === null ? '-' : localTime(mount.started),
    sizeOf(mount.size),
    sizeOf(mount.bytesRead),
    sizeOf(mount.bytesWritten),
    mount.image,
  ]);
  const remarks = mounts.flatMap(({ mountpoint, reason, state }) => {
    if (reason === null) return [];
    const help = state === 'dead' ? `; clean up with: vmdkfs unmount ${mountpoint}` : '';
    return [`${mountpoint}: ${reason}${help}`];
  });
  return [...formatTable(COLUMNS, rows), ...remarks];
}

function stateOf({ readOnly, state }: MountInfo): string {
  if (state !== 'mounted') return state;
  return readOnly === true ? 'ro' : 'rw';
}

function sizeOf(bytes: number | null): string {
  return bytes === null ? '-' : formatSizeShort(bytes);
}
