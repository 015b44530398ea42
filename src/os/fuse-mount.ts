/**
 * Mounting a FUSE file system without native code of our own: fusermount3 mounts (it is setuid
 * root) and sends the descriptor of the connection over a socket. Asked for `auto_unmount` it stays,
 * and unmounts when its end of the socket closes, however the server ended. Root without
 * fusermount3 calls mount(2).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { bytesOfPath } from '../binary/path-text.js';
import { describeError } from '../errno.js';
import { receiveDescriptor, socketPair } from './fd-passing.js';
import { libc } from './libc.js';
import { spawnedCommand } from './spawned-command.js';
import { systemCallError } from './system-call-error.js';

/** The descriptor that fusermount3 gets for its end of the socket. */
const COMMFD = 3;

/** How long fusermount3 may take to mount, milliseconds. */
const HELPER_START_MS = 30_000;

/** How long fusermount3 may take to see that the mount has ended, milliseconds. */
const HELPER_END_MS = 2000;

/** What is mounted where. */
export interface FuseMountRequest {
  /** Absolute path. */
  readonly mountpoint: string;
  /** What the mount table shows as the source. */
  readonly fsname: string;
  readonly subtype: string;
  /** Options of the kernel and of mount(8): `ro`, `nodev`, `allow_other` and the like. */
  readonly options: readonly string[];
}

/** A mounted connection. */
export interface FuseMount {
  /** Descriptor of /dev/fuse. */
  readonly fd: number;
  /** Whether the mount goes away by itself when this process ends. */
  readonly autoUnmount: boolean;
  /** Lets the helper go, when the connection has ended; settles when it has. */
  release(): Promise<void>;
}

/** mount(2) flags by option name. */
const MOUNT_FLAGS: Readonly<Record<string, number>> = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  sync: 16,
  dirsync: 128,
  noatime: 1024,
};

/**
 * Mounts; the kernel's INIT is waiting on the descriptor then.
 *
 * @throws with what fusermount3 said; the system's error
 */
export async function mountFuse(request: FuseMountRequest): Promise<FuseMount> {
  const mounted = await mountByHelper(request);
  if (mounted !== undefined) return mounted;
  if (process.getuid?.() === 0) return mountByCall(request);
  throw new Error('fusermount3 is not installed (Debian package fuse3)');
}

/** The `-o` argument for fusermount3; commas and backslashes in names are escaped. */
export function helperOptions(request: FuseMountRequest): string {
  const { fsname, options, subtype } = request;
  const names = [`fsname=${escapeName(fsname)}`, `subtype=${escapeName(subtype)}`];
  return [...options, 'auto_unmount', ...names].join(',');
}

/** A value for an option of FUSE's mount programs, its commas and backslashes escaped. */
export function escapeName(name: string): string {
  return name.replaceAll(/[\\,]/g, '\\$&');
}

/** Undefined where fusermount3 is not installed. */
async function mountByHelper(request: FuseMountRequest): Promise<FuseMount | undefined> {
  const { ours, theirs } = socketPair();
  const { child, ended } = startHelper(request, ours, theirs);
  // The helper of a mount with auto_unmount stays, so its end is not waited for.
  const fd = await receiveDescriptor(ours, HELPER_START_MS);
  if (fd !== undefined) {
    child.unref();
    return { fd, autoUnmount: true, release: () => releaseHelper(ours, ended) };
  }
  closeSync(ours);
  // Without a process id a kill would mean our own process group.
  if (child.pid !== undefined) child.kill('SIGKILL');
  const complaint = await ended;
  if (complaint === undefined) return undefined;
  throw new Error(complaint === '' ? 'fusermount3 failed without a word' : complaint);
}

function startHelper(
  request: FuseMountRequest,
  ours: number,
  theirs: number,
): { child: ChildProcess; ended: Promise<string | undefined> } {
  const words = ['-o', helperOptions(request), '--', request.mountpoint];
  const { args, isMissing, program } = spawnedCommand('fusermount3', words);
  try {
    const child = spawn(program, args, {
      cwd: '/',
      env: { ...process.env, LC_ALL: 'C', _FUSE_COMMFD: String(COMMFD) },
      stdio: ['ignore', 'ignore', 'pipe', theirs],
    });
    return { child, ended: endOf(child, isMissing) };
  } catch (error) {
    closeSync(ours);
    throw error;
  } finally {
    // Only the helper may hold its end: the helper's death, and ours, must be seen at once.
    closeSync(theirs);
  }
}

/** What the helper said until it ended, or undefined where there is no such program. */
function endOf(
  child: ChildProcess,
  isMissing: (code: unknown) => boolean,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    child.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ENOENT' ? undefined : describeError(error));
    });
    child.once('close', (code) => {
      resolve(isMissing(code) ? undefined : text.trim().replaceAll(/^fusermount3: /gm, ''));
    });
  });
}

async function releaseHelper(socket: number, ended: Promise<unknown>): Promise<void> {
  closeSync(socket);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, HELPER_END_MS)));
  await Promise.race([ended, late]);
  clearTimeout(timer);
}

function mountByCall(request: FuseMountRequest): FuseMount {
  const fd = openSync('/dev/fuse', constants.O_RDWR);
  // What fusermount3 always sets.
  const options = ['nosuid', 'nodev', ...request.options];
  const flags = options.reduce((sum, option) => sum | (MOUNT_FLAGS[option] ?? 0), 0);
  const kernel = request.options.filter(
    (option) => option !== 'rw' && MOUNT_FLAGS[option] === undefined,
  );
  const data = [`fd=${fd}`, 'rootmode=40000', 'user_id=0', 'group_id=0', ...kernel].join(',');
  const type = `fuse.${request.subtype}`;
  const c = libc();
  const target = Buffer.concat([bytesOfPath(request.mountpoint), Buffer.alloc(1)]);
  if (c.mount(request.fsname, c.addressOf(target), type, flags, data) < 0) {
    const error = systemCallError('mount', c.errno(), request.mountpoint);
    closeSync(fd);
    throw error;
  }
  return { fd, autoUnmount: false, release: () => Promise.resolve() };
}
