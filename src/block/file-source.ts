/**
 * Where an image file comes from, and where the files are that it names: extents beside a
 * descriptor, the parent of a child.
 *
 * A descriptor is data from somebody else, and can name anything. So what it names has to lie in the
 * folder of the image that the user named, or below it, when links have been followed; anything else
 * only with the user's word (CVE-2022-47951 was a descriptor that named /etc/passwd). An image that
 * was moved still names its files where they were, often on another system: they are also looked for
 * beside it.
 */
import { type Stats } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { readlinkSync, realpathSync, statSync } from '../os/host-fs.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { fileNamesIn } from './images-beside.js';
import { assertKind, type OpenedFile, type OpenedFiles } from './opened-files.js';
import type { OpenPolicy } from './open-policy.js';

/** A file of an image, not open yet. */
export interface FileSource {
  /** For messages. */
  readonly path: string;
  /** Why nothing that comes from there can be written; undefined where it can. */
  readonly readOnlyReason: string | undefined;
  /** Its name in the archive that it is in; undefined where it is in none. */
  readonly member: string | undefined;

  /** Opens the file for reading. */
  open(): OpenedFile;

  /**
   * The file that this one calls `name`, as an extent or as its parent; undefined where there is
   * none.
   *
   * @param isExact whether a file whose name is the same in another case does not count, where there
   *   is one such file alone
   * @throws VmdkError VMDK_OUTSIDE_FOLDER, VMDK_NOT_A_FILE; the system's error
   */
  find(name: string, as: 'extent' | 'parent', isExact: boolean): FileSource | undefined;

  /** Where a parent is looked for that has no name. */
  searchPlaces(): SearchPlaces;

  /** The file at `path`, which lies in one of those folders. */
  at(path: string): FileSource;
}

/**
 * The file that `source` calls by one of `names`, the first that there is. A name in another case
 * counts only where none of them is there as it stands.
 *
 * @throws as `FileSource.find` does
 */
export function findFirst(
  source: FileSource,
  names: readonly string[],
  as: 'extent' | 'parent',
): FileSource | undefined {
  for (const isExact of [true, false]) {
    for (const name of names) {
      const found = source.find(name, as, isExact);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** Folders in which the parent of an image may be. */
export interface SearchPlaces {
  /** Nearest first. */
  readonly folders: readonly string[];
  /** One that needs the user's word; undefined where there is none. */
  readonly forbidden: string | undefined;
}

/** Those of a file that is in no folder. */
export const NOWHERE: SearchPlaces = { folders: [], forbidden: undefined };

/** VirtualBox keeps the images of snapshots in a folder of this name below the machine's. */
const SNAPSHOTS = 'Snapshots';

/** A file of the host. */
export class HostSource implements FileSource {
  readonly path: string;
  readonly readOnlyReason = undefined;
  readonly member = undefined;
  readonly #files: OpenedFiles;
  readonly #policy: OpenPolicy;
  /** Real folders in which everything has to lie. */
  readonly #roots: readonly string[];
  readonly #isDevice: boolean;
  readonly #isTrusted: boolean;
  /** What `#folders` found: there may be thousands of names to look for. */
  #foldersFound: readonly string[] | undefined;

  private constructor(
    files: OpenedFiles,
    path: string,
    policy: OpenPolicy,
    found: { readonly roots: readonly string[]; readonly isDevice: boolean } | undefined,
  ) {
    this.path = path;
    this.#files = files;
    this.#policy = policy;
    this.#roots = found?.roots ?? this.#folders();
    this.#isDevice = found?.isDevice ?? false;
    this.#isTrusted = found === undefined || found.isDevice || policy.allowOutside;
  }

  /**
   * The image file that the user named: it is opened wherever it is.
   *
   * @throws the system's error
   */
  static named(files: OpenedFiles, path: string, policy: OpenPolicy): HostSource {
    return new HostSource(files, path, policy, undefined);
  }

  open(): OpenedFile {
    const file = this.#files.open(this.path, this.#isDevice);
    // What was found inside may have been replaced by a link to somewhere else since.
    if (this.#isTrusted || this.#isInside(readlinkSync(`/proc/self/fd/${file.fd}`))) return file;
    throw new VmdkError('VMDK_OUTSIDE_FOLDER', this.path, 'was replaced while it was being opened');
  }

  find(name: string, as: 'extent' | 'parent', isExact: boolean): FileSource | undefined {
    const paths = this.#candidates(name);
    if (isExact) return this.#findAt(paths, name, as);
    const others = [...new Set(paths.flatMap((path) => inOtherCase(path) ?? []))];
    const found = this.#findAt(others, name, as);
    if (found !== undefined) {
      this.#files.remark(
        `${found.path}: is taken for ${JSON.stringify(name)}, the ${as} that ${this.path} names in another case`,
      );
    }
    return found;
  }

  #findAt(paths: readonly string[], name: string, as: 'extent' | 'parent'): HostSource | undefined {
    const allowDevice = as === 'extent' && this.#policy.allowDevices;
    const denied: unknown[] = [];
    const found = paths.flatMap((path) => {
      const stats = statIfThere(path, denied);
      return stats === undefined ? [] : [{ path, stats }];
    });
    const chosen = found.find(({ path, stats }) => {
      assertKind(stats, path, allowDevice);
      if (stats.isBlockDevice() || this.#policy.allowOutside) return true;
      return this.#isInside(realPath(path));
    });
    if (chosen !== undefined) {
      const place = { roots: this.#roots, isDevice: chosen.stats.isBlockDevice() };
      return new HostSource(this.#files, chosen.path, this.#policy, place);
    }
    const [outside] = found;
    if (outside === undefined) {
      if (denied.length > 0) throw denied[0];
      return undefined;
    }
    throw new VmdkError(
      'VMDK_OUTSIDE_FOLDER',
      this.path,
      `its ${as} ${JSON.stringify(name)} is ${realPath(outside.path)}, outside the image's folder ${this.#roots[0] ?? ''}; if that is meant, allow it with --allow-outside`,
    );
  }

  searchPlaces(): SearchPlaces {
    const own = this.#folders();
    const below = own.map((folder) => join(folder, SNAPSHOTS));
    const above = own.map((folder) => dirname(folder));
    const isAllowed = this.#policy.allowOutside || own.every(isSnapshots);
    const folders = [...own, ...below.filter(isFolder), ...(isAllowed ? above : [])];
    return { folders: [...new Set(folders)], forbidden: isAllowed ? undefined : above[0] };
  }

  at(path: string): FileSource {
    // The folder above that of snapshots is the machine's own.
    const roots = [...new Set([...this.#roots, realPath(dirname(path))])];
    return new HostSource(this.#files, path, this.#policy, { roots, isDevice: false });
  }

  /** The folder of the file as it was named, and that of the file that the name is a link to. */
  #folders(): readonly string[] {
    this.#foldersFound ??= [
      ...new Set([realPath(dirname(this.path)), dirname(realPath(this.path))]),
    ];
    return this.#foldersFound;
  }

  /** Where `name` may be: as it stands, with a Windows path's separators, beside this file. */
  #candidates(name: string): string[] {
    const names = [name];
    const slashed = name.replaceAll('\\', '/');
    if (slashed !== name) names.push(slashed);
    if (slashed.includes('/')) {
      const file = basename(slashed);
      const folder = basename(dirname(slashed));
      names.push(file);
      // A linked clone lies beside the folder of its base.
      if (folder !== '') names.push(join('..', folder, file));
    }
    const folders = this.#folders();
    const paths = names.flatMap((each) =>
      isAbsolute(each) ? [each] : folders.map((folder) => join(folder, each)),
    );
    return [...new Set(paths)];
  }

  #isInside(real: string): boolean {
    return this.#roots.some((root) => {
      // Everything is below the root directory: an image there stands for what lies right beside it.
      if (root === sep) return dirname(real) === sep;
      const way = relative(root, real);
      return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
    });
  }
}

/**
 * The file whose path is `path` but for the case of its last part; undefined where there is none, or
 * more than one.
 */
function inOtherCase(path: string): string | undefined {
  const wanted = basename(path).toLowerCase();
  try {
    const names = [...fileNamesIn(dirname(path))];
    const [first, second] = names.filter((name) => name.toLowerCase() === wanted);
    return first === undefined || second !== undefined ? undefined : join(dirname(path), first);
  } catch {
    return undefined; // no such folder, or not ours to list
  }
}

function isSnapshots(folder: string): boolean {
  return basename(folder) === SNAPSHOTS;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** As the system follows it: `..` behind a link is not what it is in the text. */
function realPath(path: string): string {
  return realpathSync(path);
}

/** Errors that mean that a name cannot be that of a file. */
const NO_FILE: readonly unknown[] = ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP'];

/** @param denied gets the error where a folder may not be searched: another candidate may be there */
function statIfThere(path: string, denied: unknown[]): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EACCES') denied.push(error);
    else if (!NO_FILE.includes(code)) throw error;
    return undefined;
  }
}
