/**
 * Making the file of an overlay: an empty child of an image. It is locked before anything is in it,
 * so that two mounts that want the same file do not both make it, and stays open from then on.
 */
import { constants, fstatSync, fsyncSync, ftruncateSync } from 'node:fs';
import { dirname } from 'node:path';
import { existsSync, openSync, rmSync, statSync, absolutePath } from '../os/host-fs.js';
import { describeError, Errno, systemError, toErrno } from '../errno.js';
import { openLinked } from '../os/linked-file.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { planChild, type NewParent } from './create-image.js';
import { NOWHERE, type FileSource } from './file-source.js';
import { HostFile } from './host-file.js';
import { respectVmware } from './image-locks.js';
import { openNameless } from './nameless-file.js';
import { syncFolder, withPath } from './new-files.js';
import type { OpenedFile, OpenedFiles } from './opened-files.js';

/** Whether nothing is at `path`, or a file with nothing in it, as mktemp(1) makes it. */
export function isEmptyOrMissing(path: string): boolean {
  try {
    const stats = statSync(path);
    return stats.isFile() && stats.size === 0;
  } catch (error) {
    if (toErrno(error) === -Errno.ENOENT) return true;
    throw error;
  }
}

/** An overlay that was made, open for writing. */
export class NewOverlay {
  readonly source: FileSource;
  readonly #takeBack: () => void;

  private constructor(file: OpenedFile, takeBack: () => void) {
    this.source = {
      path: file.path,
      readOnlyReason: undefined,
      member: undefined,
      open: () => file,
      // Its one extent is inside the file, and its parent is open already.
      find: () => undefined,
      searchPlaces: () => NOWHERE,
      at: () => this.source,
    };
    this.#takeBack = takeBack;
  }

  /**
   * Makes an overlay without a name on the file system of `folder`.
   *
   * @param name for messages
   * @throws EFBIG where the disk is too large for it; the system's error
   */
  static nameless(
    files: OpenedFiles,
    folder: string,
    name: string,
    parent: Omit<NewParent, 'hint'>,
  ): NewOverlay {
    // Nobody will ever read these names.
    const fill = plan('snapshot.vmdk', { ...parent, hint: 'parent.vmdk' });
    const fd = openNameless(folder);
    files.adopt(fd, name);
    fill(new HostFile({ fd, path: name }));
    return new NewOverlay(files.adopt(fd, name), () => undefined);
  }

  /**
   * Makes an overlay at `path`, where nothing is, or an empty file. It is durable then.
   *
   * @param locks gets the notices of locking it; undefined where it is not to be locked
   * @throws EEXIST where somebody was faster, EFBIG, EINVAL as `createImage` does; VmdkError
   *   VMDK_IN_USE, VMDK_NO_LOCKS; the system's error. Nothing new is left then
   */
  static at(
    files: OpenedFiles,
    path: string,
    parent: NewParent,
    locks: string[] | undefined,
  ): NewOverlay {
    const fill = plan(path, parent);
    if (locks !== undefined) respectVmware(path, true, locks);
    const { file, takeBack } = openEmpty(files, path);
    try {
      files.lockForWriting(file);
      assertStillEmpty(file);
      fill(new HostFile(file));
      fsyncSync(file.fd);
      syncFolder(dirname(absolutePath(path)));
      return new NewOverlay(files.adopt(file.fd, path), takeBack);
    } catch (error) {
      // What another mount has taken meanwhile is its file.
      if (!(error instanceof VmdkError && error.code === 'VMDK_IN_USE')) takeBack();
      throw withPath(error, path);
    }
  }

  /** Removes what was made; as long as it is open, so that it is still ours alone. */
  takeBack(): void {
    this.#takeBack();
  }
}

function plan(path: string, parent: NewParent): (file: HostFile) => void {
  try {
    return planChild(path, parent);
  } catch (error) {
    if (toErrno(error) !== -Errno.EFBIG) throw error;
    throw systemError(
      'EFBIG',
      `${describeError(error)}; make a seSparse child with vmdkfs create --backing, and name that as the overlay`,
    );
  }
}

/** Opens the empty file at `path`, which is made where there is none. */
function openEmpty(
  files: OpenedFiles,
  path: string,
): { readonly file: OpenedFile; readonly takeBack: () => void } {
  const isThere = existsSync(path);
  // Others may know the name: nothing is made through a link, and none of another user followed.
  const fd = isThere ? openLinked(path, constants.O_RDWR, 0) : openSync(path, 'wx+');
  const file = files.adopt(fd, path);
  const takeBack = (): void => {
    if (isThere) ftruncateSync(file.fd, 0);
    else if (isStillAt(path, file)) rmSync(path);
  };
  return { file, takeBack };
}

function assertStillEmpty({ fd, path }: OpenedFile): void {
  if (fstatSync(fd).size === 0) return;
  throw new VmdkError(
    'VMDK_IN_USE',
    path,
    'was made by another program while it was being made here; try again',
  );
}

function isStillAt(path: string, file: OpenedFile): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && `${stats.dev}:${stats.ino}` === file.identity;
}
