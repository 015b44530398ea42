/** The `-o` options of a mount: ours, the kernel's, and those that other programs add. */
import type { OpenOptions } from '../block/open-image.js';
import { UsageError } from './mount-error.js';

/** Which transport serves a mount. */
export type TransportName = 'auto' | 'kernel' | 'libfuse';

export const TRANSPORTS: readonly TransportName[] = ['auto', 'kernel', 'libfuse'];

/** Threads that serve requests, unless told otherwise; measured, see native-notes/performance.md. */
export const WORKERS_DEFAULT = 2;

const WORKERS_MAX = 64;

export interface MountOptions {
  /** How the image is opened. */
  readonly open: OpenOptions;
  readonly debug: boolean;
  readonly transport: TransportName | undefined;
  readonly workers: number | undefined;
  /** Whether the kernel may keep written pages back. */
  readonly writebackCache: boolean;
  /** Whether the kernel may read a plain disk by itself, on a read-only mount. */
  readonly passthrough: boolean;
  /** The image that writes go to instead; undefined where that is not asked for. */
  readonly overlay: string | undefined;
  /** Whether the image is a plain file, without a descriptor. */
  readonly flat: boolean;
  /** Whether writes are thrown away at the end. */
  readonly snapshot: boolean;
  readonly pidFile: string | undefined;
  readonly log: string | undefined;
  /** Options that the transport and the kernel get. */
  readonly passed: readonly string[];
}

/** What the user allows when the image is opened, by the words for it. */
const PERMISSIONS = {
  allow_outside: 'allowOutside',
  allow_devices: 'allowDevices',
  force: 'force',
  drop_change_tracking: 'dropChangeTracking',
} as const;

/** What is ours to do, each a word. */
const SWITCHES = new Set([
  ...['debug', 'writeback_cache', 'no_passthrough', 'no_lock', 'snapshot', 'flat'],
  ...Object.keys(PERMISSIONS),
]);

/** What is ours and has a value: its name, and a word for the value. */
const VALUED: Readonly<Record<string, string>> = {
  workers: 'N',
  transport: 'NAME',
  disk: 'DISK',
  overlay: 'FILE',
  pid_file: 'FILE',
  log: 'FILE',
};

/** What libfuse and the kernel understand. */
const PASSED = new Set([
  ...['allow_other', 'allow_root', 'default_permissions', 'nonempty'],
  ...['nosuid', 'nodev', 'noexec', 'noatime', 'dirsync', 'sync'],
]);

/** All options that have an effect. */
export const MOUNT_OPTIONS: readonly string[] = [
  'ro',
  'rw',
  ...SWITCHES,
  ...Object.entries(VALUED).map((pair) => pair.join('=')),
  ...PASSED,
];

/** What mount(8), mount.fuse3 and fstab add, and the defaults of the kernel: accepted, no effect. */
const TOLERATED = new Set([
  ...[
    'defaults',
    'auto',
    'noauto',
    'nofail',
    'user',
    'nouser',
    'users',
    'owner',
    'group',
    '_netdev',
  ],
  ...['suid', 'dev', 'exec', 'async', 'atime', 'relatime', 'norelatime', 'strictatime'],
  ...[
    'nostrictatime',
    'mand',
    'nomand',
    'silent',
    'loud',
    'symfollow',
    'diratime',
    'nodiratime',
    'lazytime',
    'nolazytime',
    'iversion',
    'noiversion',
  ],
]);

/** Beginnings of such options that have a name or a value of somebody else's. */
const TOLERATED_BEGINNING = /^(?:x-|X-|comment=|user=)/;

/**
 * Parses the values of all `-o` options; the last of `ro` and `rw` counts.
 *
 * @throws UsageError for an option that is not known
 */
export function parseMountOptions(values: readonly string[]): MountOptions {
  let readOnly = false;
  const given = new Map<string, string>();
  const on = new Set<string>();
  const passed = new Set<string>();
  for (const option of values.flatMap((value) => value.split(',')).filter((name) => name !== '')) {
    if (option === 'ro' || option === 'rw') readOnly = option === 'ro';
    else if (SWITCHES.has(option)) on.add(option);
    else if (isValued(option)) given.set(nameOf(option), option.slice(nameOf(option).length + 1));
    else if (PASSED.has(option)) passed.add(option);
    else if (!TOLERATED.has(option) && !TOLERATED_BEGINNING.test(option)) throw unknown(option);
  }
  // Without the kernel's check of permissions allow_other would let everybody write.
  if (passed.has('allow_other')) passed.add('default_permissions');
  const allowed = Object.entries(PERMISSIONS).map(([word, name]) => [name, on.has(word)] as const);
  const transport = given.get('transport');
  const workers = given.get('workers');
  const disk = given.get('disk');
  return {
    open: { readOnly, disk, lock: !on.has('no_lock'), ...Object.fromEntries(allowed) },
    debug: on.has('debug'),
    transport: transport === undefined ? undefined : parseTransport(transport),
    workers: workers === undefined ? undefined : parseWorkers(workers),
    writebackCache: on.has('writeback_cache'),
    passthrough: !on.has('no_passthrough'),
    overlay: given.get('overlay'),
    snapshot: on.has('snapshot'),
    flat: on.has('flat'),
    pidFile: given.get('pid_file'),
    log: given.get('log'),
    passed: [...passed],
  };
}

function isValued(option: string): boolean {
  return option.includes('=') && Object.hasOwn(VALUED, nameOf(option));
}

/** The name of an option that has a value. */
function nameOf(option: string): string {
  return option.slice(0, option.indexOf('='));
}

/** @throws UsageError for a name that is no transport */
export function parseTransport(name: string): TransportName {
  const found = TRANSPORTS.find((transport) => transport === name);
  if (found !== undefined) return found;
  throw new UsageError(
    `unknown transport ${JSON.stringify(name)} (${TRANSPORTS.join(', ')} expected)`,
  );
}

/** @throws UsageError for what is no number of threads */
export function parseWorkers(text: string): number {
  const workers = /^\d+$/.test(text) ? Number(text) : 0;
  if (workers >= 1 && workers <= WORKERS_MAX) return workers;
  throw new UsageError(
    `${JSON.stringify(text)} is not a number of threads (1 to ${WORKERS_MAX} expected)`,
  );
}

function unknown(option: string): UsageError {
  return new UsageError(
    `unknown mount option ${JSON.stringify(option)} (known: ${MOUNT_OPTIONS.join(', ')})`,
  );
}
