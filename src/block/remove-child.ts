/**
 * Removing the files of a child that is merged. One file can have several names (a relative path, a
 * link, two extent lines), so files are told apart by device and inode, and each is removed once.
 * The image file goes first: no image is left that lacks an extent.
 */
import { dirname } from 'node:path';
import { lstatSync, realpathSync, statSync, unlinkSync } from '../os/host-fs.js';
import { describeError, toErrno } from '../errno.js';
import { syncFolder } from './new-files.js';
import type { OpenedLayer } from './open-layer.js';

/** A file of the child: the name by which it was opened, and which file that was. */
interface ChildFile {
  readonly path: string;
  readonly identity: string;
}

/**
 * Removes the image file of `child` and those of its extents that were written; the others stay,
 * other images may use them.
 *
 * @param notices gets a sentence for each file that stays
 * @returns false where another file has taken the place of the image file, with nothing removed
 * @throws an error that says which file could not be removed, with the system's errno; the others
 *   are removed, but for the extents of an image file that stays
 */
export function removeChild(child: OpenedLayer, notices: string[]): boolean {
  const { identity, path } = child;
  const folder = removeFile({ identity, path });
  if (folder === undefined) {
    notices.push(`${path}: was replaced meanwhile, so no file of the child was removed`);
    return false;
  }
  // Durable first: after a power cut no descriptor is there that lacks its extents.
  syncFolder(folder);
  removeExtents(ownExtents(child, notices), notices);
  return true;
}

/** The files that only the extents of `child` use, each once. */
function ownExtents(child: OpenedLayer, notices: string[]): ChildFile[] {
  const written = new Map<string, ChildFile>();
  const kept = new Map<string, string>();
  for (const { file, readOnlyReason } of child.extents) {
    if (file === undefined || file.identity === child.identity) continue;
    const isFile = statSync(file.path, { throwIfNoEntry: false })?.isFile() !== false;
    const reason = isFile ? readOnlyReason : 'is a device';
    if (reason === undefined) written.set(file.identity, file);
    else kept.set(file.identity, `${file.path}: ${reason}, so it was not removed`);
  }
  // A file with two extents is written where one of them is.
  const others = [...kept].filter(([identity]) => !written.has(identity));
  notices.push(...others.map(([, notice]) => notice));
  return [...written.values()];
}

function removeExtents(files: readonly ChildFile[], notices: string[]): void {
  const folders = new Set<string>();
  const failures: { readonly path: string; readonly error: unknown }[] = [];
  for (const file of files) {
    try {
      const folder = removeFile(file);
      if (folder !== undefined) folders.add(folder);
      else notices.push(`${file.path}: was replaced meanwhile, so it was not removed`);
    } catch (error) {
      failures.push({ path: file.path, error });
    }
  }
  for (const folder of folders) syncFolder(folder);
  const [first, ...more] = failures;
  if (first === undefined) return;
  const others = more.length === 0 ? '' : ` (and so ${more.map(({ path }) => path).join(', ')})`;
  const failure = new Error(`${describeError(first.error)}${others}`, { cause: first.error });
  throw Object.assign(failure, { errno: toErrno(first.error) });
}

/**
 * Removes a file, and the link where its name is one.
 *
 * @returns the folder that it was in; undefined where another file is there now
 * @throws the system's error
 */
function removeFile({ identity, path }: ChildFile): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  // Somebody else was faster.
  if (stats === undefined) return dirname(path);
  if (`${stats.dev}:${stats.ino}` !== identity) return undefined;
  const real = realpathSync(path);
  const isLink = lstatSync(path).isSymbolicLink();
  unlinkSync(real);
  if (isLink) unlinkSync(path);
  return dirname(real);
}
