/** The `-o` options of a mount: ours, the kernel's, and those that other programs add. */
import { UsageError } from './mount-error.js';

/** Which transport serves a mount. */
export type TransportName = 'auto' | 'libfuse';

export const TRANSPORTS: readonly TransportName[] = ['auto', 'libfuse'];

export interface MountOptions {
  readonly readOnly: boolean;
  readonly debug: boolean;
  readonly transport: TransportName | undefined;
  /** Options that the transport and the kernel get. */
  readonly passed: readonly string[];
}

/** What libfuse and the kernel understand. */
const PASSED = new Set([
  ...['allow_other', 'allow_root', 'default_permissions', 'nonempty'],
  ...['nosuid', 'nodev', 'noexec', 'noatime', 'dirsync', 'sync'],
]);

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
    'diratime',
    'nodiratime',
    'lazytime',
    'nolazytime',
    'iversion',
    'noiversion',
  ],
]);

/**
 * Parses the values of all `-o` options; the last of `ro` and `rw` counts.
 *
 * @throws UsageError for an option that is not known
 */
export function parseMountOptions(values: readonly string[]): MountOptions {
  let readOnly = false;
  let debug = false;
  let transport: TransportName | undefined;
  const passed = new Set<string>();
  for (const option of values.flatMap((value) => value.split(',')).filter((name) => name !== '')) {
    if (option === 'ro' || option === 'rw') readOnly = option === 'ro';
    else if (option === 'debug') debug = true;
    else if (option.startsWith('transport=')) transport = parseTransport(option.slice(10));
    else if (PASSED.has(option)) passed.add(option);
    else if (!TOLERATED.has(option) && !/^(?:x-|comment=)/.test(option)) throw unknown(option);
  }
  // Without the kernel's check of permissions allow_other would let everybody write.
  if (passed.has('allow_other')) passed.add('default_permissions');
  return { readOnly, debug, transport, passed: [...passed] };
}

/** @throws UsageError for a name that is no transport */
export function parseTransport(name: string): TransportName {
  const found = TRANSPORTS.find((transport) => transport === name);
  if (found !== undefined) return found;
  throw new UsageError(
    `unknown transport ${JSON.stringify(name)} (${TRANSPORTS.join(', ')} expected)`,
  );
}

function unknown(option: string): UsageError {
  const known = ['ro', 'rw', 'debug', 'transport=NAME', ...PASSED].join(', ');
  return new UsageError(`unknown mount option ${JSON.stringify(option)} (known: ${known})`);
}
