/**
 * An image that is being made beside the place where it will be. Its files have their names already,
 * in a folder of their own, `.vmdkfs-XXXXXXXX.part`, so that the descriptor can name them and
 * nothing else is in the way. When they are complete and durable they take their places, the
 * descriptor last; until then whatever was there stays as it was.
 */
import { randomBytes } from 'node:crypto';
import { type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from '../../os/host-fs.js';
import { systemError } from '../../errno.js';
import { syncFolder } from '../new-files.js';

export class PendingImage {
  /** Where the image file is now. */
  readonly path: string;
  /** The folder it will be in. */
  readonly home: string;
  readonly #folder: string;
  readonly #name: string;

  /**
   * Makes the folder for an image that will be `target`.
   *
   * @throws the system's error
   */
  constructor(target: string) {
    this.home = dirname(target);
    this.#name = basename(target);
    this.#folder = join(this.home, `.vmdkfs-${randomBytes(4).toString('hex')}.part`);
    this.path = join(this.#folder, this.#name);
    // Nobody else puts anything into it, whatever the umask.
    mkdirSync(this.#folder, { mode: 0o700 });
  }

  /** Where its files will be, the image file last. */
  targets(): string[] {
    return this.#names().map((name) => join(this.home, name));
  }

  #names(): string[] {
    const others = readdirSync(this.#folder).filter((name) => name !== this.#name);
    return [...others, this.#name];
  }

  /**
   * Puts the files, which are durable, in their places. What was there before goes, `obsolete` too,
   * where `replaces`; a crash between the files of a split image leaves no descriptor then, not one
   * that names a mixture.
   *
   * @throws EEXIST where something is there and may not be replaced; the system's error
   */
  publish(replaces: boolean, obsolete: readonly string[]): void {
    const names = this.#names();
    if (replaces && names.length > 1) {
      rmSync(join(this.home, this.#name), { force: true });
      syncFolder(this.home);
    }
    const placed: string[] = [];
    try {
      for (const name of names) {
        const to = join(this.home, name);
        if (replaces) renameSync(join(this.#folder, name), to);
        else moveBeside(join(this.#folder, name), to);
        placed.push(to);
      }
      syncFolder(this.home);
    } catch (error) {
      // Nothing was there before.
      if (!replaces) for (const path of placed) rmSync(path, { force: true });
      throw error;
    }
    for (const path of obsolete) rmSync(path, { force: true });
    rmdirSync(this.#folder);
    syncFolder(this.home);
  }

  /** Removes everything that was made. */
  discard(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** What is at `path`, links not followed; undefined where nothing is. */
export function statAt(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** The refusal to write over `path`. */
export function alreadyThere(path: string): Error {
  return systemError('EEXIST', `${path}: is there already; --force replaces it`);
}

/** Errors of file systems that have no second names. */
const NO_LINKS: readonly unknown[] = ['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EMLINK'];

/** Renames a file, never over another one. */
function moveBeside(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' || (NO_LINKS.includes(code) && statAt(to) !== undefined)) {
      throw alreadyThere(to);
    }
    if (!NO_LINKS.includes(code)) throw error;
    renameSync(from, to);
    return;
  }
  unlinkSync(from);
}
