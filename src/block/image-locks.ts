/**
 * Keeps a second program away from an image that is mounted for writing, and us away from one that
 * another has.
 *
 * QEMU's way (block/file-posix.c) is followed bit by bit, so that QEMU and vmdkfs refuse each other:
 * a permission is a byte; whoever uses it locks byte 100 + n, whoever does not let others use it
 * byte 200 + n, both shared; then whoever finds a lock of somebody else on the opposite byte has lost.
 * A reader lets nobody write. VMware marks its disks with a folder NAME.lck beside them.
 */
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describeError } from '../errno.js';
import { isByteLocked, lockByte } from '../os/file-lock.js';
import { libc } from '../os/libc.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { OpenedFile } from './opened-files.js';

const USED = 100;
const NOT_SHARED = 200;

// Permissions, by QEMU's numbers.
const CONSISTENT_READ = 0;
const WRITE = 1;
const RESIZE = 3;

const READER = [CONSISTENT_READ];
const WRITER = [CONSISTENT_READ, WRITE, RESIZE];
const NOT_SHARED_BY_ANYBODY = [WRITE, RESIZE];

/** A file of an image, and whether it is written. */
export interface FileToLock {
  readonly file: Pick<OpenedFile, 'fd' | 'path' | 'identity'>;
  readonly isWritten: boolean;
}

/**
 * Locks all files of an image. The locks go when the descriptors are closed. Where the C library
 * cannot be called there are none, with a notice.
 *
 * @param notices gets what does not forbid it, but should be known
 * @throws VmdkError VMDK_IN_USE; VMDK_NO_LOCKS where the file system has none
 */
export function lockFiles(uses: readonly FileToLock[], notices: string[]): void {
  try {
    libc();
  } catch (error) {
    notices.push(`other programs are not kept from using the image: ${describeError(error)}`);
    return;
  }
  for (const { file, isWritten } of once(uses)) {
    respectVmware(file.path, isWritten, notices);
    let isFree: boolean;
    try {
      isFree = lock(file, isWritten ? WRITER : READER);
    } catch (error) {
      throw new VmdkError(
        'VMDK_NO_LOCKS',
        file.path,
        `cannot be locked (${describeError(error)}); where nobody else uses the image, --no-lock goes on without`,
        { cause: error },
      );
    }
    if (isFree) continue;
    const wanted = isWritten ? 'writing' : 'reading';
    throw new VmdkError(
      'VMDK_IN_USE',
      file.path,
      `is in use by another program (a mount, or QEMU) and cannot be opened for ${wanted} beside it; unmount it there, or stop the machine`,
    );
  }
}

/** How other programs have a file open, as far as they say so. */
export interface FileUse {
  readonly by: 'reader' | 'writer' | undefined;
  /** The mark that VMware has left for it: a path. */
  readonly vmwareMark: string | undefined;
}

/** Looks how others use a file, without taking a lock; where there are no locks nobody says so. */
export function useOf({ fd, path }: Pick<OpenedFile, 'fd' | 'path'>): FileUse {
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

/** One use of each file, for writing where one of its uses is: two of ours would meet each other. */
function once(uses: readonly FileToLock[]): FileToLock[] {
  const files = new Map<string, FileToLock>();
  for (const use of uses) {
    const before = files.get(use.file.identity);
    if (before === undefined || (use.isWritten && !before.isWritten)) {
      files.set(use.file.identity, use);
    }
  }
  return [...files.values()];
}

/** Whether nobody else has the file in a way that does not go together with `used`. */
function lock({ fd, path }: FileToLock['file'], used: readonly number[]): boolean {
  const bytes = [
    ...used.map((permission) => USED + permission),
    ...NOT_SHARED_BY_ANYBODY.map((permission) => NOT_SHARED + permission),
  ];
  if (!bytes.every((byte) => lockByte(fd, byte, path))) return false;
  const opposite = [
    ...used.map((permission) => NOT_SHARED + permission),
    ...NOT_SHARED_BY_ANYBODY.map((permission) => USED + permission),
  ];
  return !opposite.some((byte) => isByteLocked(fd, byte, path));
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
