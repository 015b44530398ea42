/**
 * Keeps a second program away from an image that is mounted for writing, and us away from one that
 * another has.
 *
 * QEMU's way (block/file-posix.c) is followed bit by bit, so that QEMU and vmdkfs refuse each other:
 * a permission is a byte; whoever uses it locks byte 100 + n, whoever does not let others use it
 * byte 200 + n, both shared; then whoever finds a lock of somebody else on the opposite byte has lost.
 * A reader lets nobody write. VMware marks its disks with a folder NAME.lck beside them.
 */
import { dirname, join } from 'node:path';
import { readdirSync } from '../os/host-fs.js';
import { describeError } from '../errno.js';
import { isByteLocked, lockByte, unlockByte } from '../os/file-lock.js';
import { libc } from '../os/libc.js';
import { VmdkError } from '../vmdk/vmdk-error.js';

const USED = 100;
const NOT_SHARED = 200;

// Permissions, by QEMU's numbers.
const CONSISTENT_READ = 0;
const WRITE = 1;
const RESIZE = 3;

const READER = [CONSISTENT_READ];
const WRITER = [CONSISTENT_READ, WRITE, RESIZE];
const NOT_SHARED_BY_ANYBODY = [WRITE, RESIZE];

/** A file that is open: its descriptor, its path for messages, and what identifies it on the host. */
export interface LockedFile {
  readonly fd: number;
  readonly path: string;
  readonly identity: string;
}

/** What is open of one file; the first descriptor has the locks. */
interface Holders {
  readonly fds: number[];
  isWritten: boolean;
}

/**
 * How long to wait for a program that has the image, in ms: a server that is just closing needs a
 * moment. A random part lets one of two programs that wait for each other give up first.
 */
const WAIT_MS = 400;
const WAIT_RANDOM_MS = 400;
const PAUSE_MS = 10;

/**
 * The locks of all files that are opened together. Each file is locked right after it is opened,
 * before its length or any byte of it is used: what was read before is from before the last program
 * closed it. Two descriptors of one file would find each other's locks, so one of them has the locks
 * for all, and hands them on when it is closed.
 */
export class FileLocks {
  readonly #notices: string[];
  readonly #holders = new Map<string, Holders>();
  #isPossible: boolean | undefined;

  /** @param notices gets what does not forbid the use of a file, but should be known */
  constructor(notices: string[]) {
    this.#notices = notices;
  }

  /**
   * Locks a file that was just opened, or that is to be written from now on. The locks go when its
   * descriptors are closed. Where the C library cannot be called there are none, with a notice.
   *
   * @throws VmdkError VMDK_IN_USE; VMDK_NO_LOCKS where the file system has none
   */
  lock(file: LockedFile, isWritten: boolean): void {
    if (!this.#canLock()) return;
    const holders = this.#holders.get(file.identity) ?? { fds: [], isWritten: false };
    const isFirst = holders.fds.length === 0;
    if (isFirst || (isWritten && !holders.isWritten)) {
      respectVmware(file.path, isWritten, this.#notices);
      const owner = { ...file, fd: holders.fds[0] ?? file.fd };
      waitForLock(owner, isWritten ? WRITER : READER, isFirst ? [] : READER);
      holders.isWritten = isWritten;
    }
    if (!holders.fds.includes(file.fd)) holders.fds.push(file.fd);
    this.#holders.set(file.identity, holders);
  }

  /** Hands the locks of a descriptor that is to be closed on to another one of its file. */
  release({ fd, identity, path }: LockedFile): void {
    const { fds, isWritten } = this.#holders.get(identity) ?? { fds: [], isWritten: false };
    const index = fds.indexOf(fd);
    if (index < 0) return;
    fds.splice(index, 1);
    const [next] = fds;
    if (next === undefined) this.#holders.delete(identity);
    // All locks are shared, so there is no moment without them.
    else if (index === 0) takeAll(next, bytesOf(isWritten ? WRITER : READER), path);
  }

  #canLock(): boolean {
    if (this.#isPossible !== undefined) return this.#isPossible;
    try {
      libc();
      this.#isPossible = true;
    } catch (error) {
      this.#notices.push(
        `other programs are not kept from using the image: ${describeError(error)}`,
      );
      this.#isPossible = false;
    }
    return this.#isPossible;
  }
}

/**
 * Takes the locks for `wanted`; `held` are the permissions that `file` is locked for already.
 *
 * @throws VmdkError VMDK_IN_USE, VMDK_NO_LOCKS
 */
function waitForLock(file: LockedFile, wanted: readonly number[], held: readonly number[]): void {
  const end = performance.now() + WAIT_MS + Math.random() * WAIT_RANDOM_MS;
  while (!tryLock(file, wanted, held)) {
    if (performance.now() > end) throw inUse(file.path, wanted === WRITER);
    pause(PAUSE_MS * (1 + Math.random()));
  }
}

/** Whether nobody else has the file in a way that does not go together with `wanted`. */
function tryLock(
  { fd, path }: LockedFile,
  wanted: readonly number[],
  held: readonly number[],
): boolean {
  const before = held.length === 0 ? [] : bytesOf(held);
  const added = bytesOf(wanted).filter((byte) => !before.includes(byte));
  try {
    if (takeAll(fd, added, path) && !isOpposed(fd, wanted, path)) return true;
    for (const byte of added) unlockByte(fd, byte, path);
    return false;
  } catch (error) {
    throw new VmdkError(
      'VMDK_NO_LOCKS',
      path,
      `cannot be locked (${describeError(error)}); where nobody else uses the image, --no-lock goes on without`,
      { cause: error },
    );
  }
}

function bytesOf(used: readonly number[]): number[] {
  return [
    ...used.map((permission) => USED + permission),
    ...NOT_SHARED_BY_ANYBODY.map((permission) => NOT_SHARED + permission),
  ];
}

function takeAll(fd: number, locks: readonly number[], path: string): boolean {
  return locks.every((byte) => lockByte(fd, byte, path));
}

/** Whether somebody else has a lock that forbids `used`. */
function isOpposed(fd: number, used: readonly number[], path: string): boolean {
  const opposite = [
    ...used.map((permission) => NOT_SHARED + permission),
    ...NOT_SHARED_BY_ANYBODY.map((permission) => USED + permission),
  ];
  return opposite.some((byte) => isByteLocked(fd, byte, path));
}

function inUse(path: string, isWritten: boolean): VmdkError {
  return new VmdkError(
    'VMDK_IN_USE',
    path,
    `is in use by another program (a mount, or QEMU) and cannot be opened for ${isWritten ? 'writing' : 'reading'} beside it; unmount it there, or stop the machine`,
  );
}

/** Blocks this thread: nothing of a mount is served yet. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Whether `error` says that a file could not be locked, which is no fault of the image. */
export function isLockError(error: unknown): boolean {
  return (
    error instanceof VmdkError && (error.code === 'VMDK_IN_USE' || error.code === 'VMDK_NO_LOCKS')
  );
}

/** How other programs have a file open, as far as they say so. */
export interface FileUse {
  readonly by: 'reader' | 'writer' | undefined;
  /** The mark that VMware has left for it: a path. */
  readonly vmwareMark: string | undefined;
}

/** Looks how others use a file, without taking a lock; where there are no locks nobody says so. */
export function useOf({ fd, path }: Pick<LockedFile, 'fd' | 'path'>): FileUse {
  return { by: usedBy(fd, path), vmwareMark: vmwareMark(path) };
}

function usedBy(fd: number, path: string): FileUse['by'] {
  try {
    if (isByteLocked(fd, USED + WRITE, path)) return 'writer';
    return isByteLocked(fd, USED + CONSISTENT_READ, path) ? 'reader' : undefined;
  } catch {
    return undefined; // neither locks on this file system, nor a C library that can be called
  }
}

/**
 * Keeps off the file at `path` where VMware has it. VMware leaves its mark behind when it dies; only
 * the user can know.
 *
 * @throws VmdkError VMDK_IN_USE where it is to be written; else there is a notice
 */
export function respectVmware(path: string, isWritten: boolean, notices: string[]): void {
  const mark = vmwareMark(path);
  if (mark === undefined) return;
  const what = `VMware has marked it as in use (${mark})`;
  if (!isWritten) {
    notices.push(`${path}: ${what}; what is read may be changing`);
    return;
  }
  throw new VmdkError(
    'VMDK_IN_USE',
    path,
    `${what}; shut the machine down, or where none has it open any more, remove the folder ${dirname(mark)}; -o ro mounts it beside`,
  );
}

/** The mark of VMware for the file at `path`. */
function vmwareMark(path: string): string | undefined {
  const folder = `${path}.lck`;
  const name = entriesOf(folder).find((each) => each.endsWith('.lck'));
  return name === undefined ? undefined : join(folder, name);
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // none there, as it should be, or not ours to look into
  }
}
