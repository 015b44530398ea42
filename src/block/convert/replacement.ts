/**
 * What stands where a new image is to be: whether it may go, and what goes with it. It is locked
 * until it is replaced, so that nobody loses an image that is in use. Extents of the old image that
 * have no place in the new one go too where they are its own: beside it, named after it.
 */
import { fstatSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { statSync } from '../../os/host-fs.js';
import { systemError } from '../../errno.js';
import { decodeFileNames } from '../../vmdk/file-names.js';
import type { ImageDescription } from '../attach-image.js';
import { findDescriptor } from '../find-descriptor.js';
import { FileLocks } from '../image-locks.js';
import { OpenedFiles, type OpenedFile } from '../opened-files.js';
import { alreadyThere, statAt } from './pending-image.js';

export class Replacement {
  readonly #target: string;
  /** Files that are read, by their identity. */
  readonly #inputs: ReadonlySet<string>;
  readonly #opened: OpenedFile[] = [];
  #files = new OpenedFiles();

  /**
   * @param target where the image file will be, absolute
   * @param inputs the images that are read for it
   */
  constructor(target: string, inputs: readonly ImageDescription[]) {
    this.#target = target;
    this.#inputs = new Set(inputs.flatMap(identitiesOf));
  }

  /** The first of `paths` that is a file which is read for the new image. */
  conflict(paths: readonly string[]): string | undefined {
    return paths.find((path) => this.#isInput(path));
  }

  #isInput(path: string): boolean {
    const stats = statSync(path, { throwIfNoEntry: false });
    return stats !== undefined && this.#inputs.has(`${stats.dev}:${stats.ino}`);
  }

  /**
   * Looks at what is at `paths`, the places of the new image's files, and locks it.
   *
   * @throws EEXIST where something is there and `mayReplace` is false, EISDIR for what is no file;
   *   VmdkError VMDK_IN_USE
   */
  claim(paths: readonly string[], mayReplace: boolean, lock: boolean): void {
    const there = paths.filter((path) => statAt(path) !== undefined);
    const [first] = there;
    if (first === undefined) return;
    if (!mayReplace) throw alreadyThere(first);
    if (lock) this.#files = new OpenedFiles(new FileLocks([]));
    for (const path of there) this.#open(path);
    for (const path of this.#oldExtents()) if (!there.includes(path)) this.#open(path);
  }

  #open(path: string): void {
    if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
      if (statAt(path)?.isSymbolicLink() === true) return;
      throw systemError('EISDIR', `${path}: is no regular file, and is not replaced`);
    }
    this.#opened.push(this.#files.openReadWrite(path));
  }

  /** Extents of the image that is replaced, as far as it can be read and they are its own. */
  #oldExtents(): string[] {
    const old = this.#opened.find(({ path }) => path === this.#target);
    if (old === undefined) return [];
    const home = dirname(this.#target);
    const stem = basename(this.#target).replace(/\.vmdk$/i, '');
    let names: string[];
    try {
      const { descriptor, embeddedIn } = findDescriptor(old);
      if (embeddedIn !== undefined) return [];
      names = descriptor.extents.flatMap(({ fileName }) => decodeFileNames(fileName, descriptor));
    } catch {
      return []; // no image, or one that nobody can read: only the file itself is replaced
    }
    return names
      .filter((name) => name.startsWith(`${stem}-`) && !name.includes('/'))
      .map((name) => join(home, name))
      .filter((path) => statAt(path)?.isFile() === true && !this.#isInput(path));
  }

  /** Whether anything is replaced. */
  get isNeeded(): boolean {
    return this.#opened.length > 0;
  }

  /** What goes without a new file in its place, which are `files`. */
  obsolete(files: readonly string[]): string[] {
    return this.#opened.map(({ path }) => path).filter((path) => !files.includes(path));
  }

  /** Gives the locks back. */
  release(): void {
    this.#opened.length = 0;
    this.#files.closeAll();
  }
}

function identitiesOf({ layers }: ImageDescription): string[] {
  const files = layers.flatMap(({ descriptor, extents }) => [
    descriptor.file,
    ...extents.flatMap((extent) => ('file' in extent ? [extent.file] : [])),
  ]);
  return files.map(({ fd }) => {
    const { dev, ino } = fstatSync(fd);
    return `${dev}:${ino}`;
  });
}
