/**
 * Children of an image that is about to be written, as far as they lie beside it. A child shows its
 * parent wherever it holds nothing itself, and is refused once its parent has changed; who writes to
 * a base has mostly taken it for the newest state.
 *
 * It is a help, not a promise: a bounded number of regular files is read from their beginning, for a
 * bounded time, none of them is locked, and what cannot be read is passed over.
 */
import { lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Descriptor } from '../vmdk/descriptor.js';
import { decodeFileNames } from '../vmdk/file-names.js';
import { findFirst, HostSource } from './file-source.js';
import { cidMismatch } from './find-parent.js';
import { descriptorOf, fileNamesIn, FILES_MAX } from './images-beside.js';
import { OpenedFiles } from './opened-files.js';
import { policyOf } from './open-policy.js';

/** Children that are named. */
const SHOWN_MAX = 3;

/** How long all of it may take, milliseconds: storage may be slow. */
const LOOK_MS = 1000;

/** An image file that is open. */
export interface ImageFile {
  readonly path: string;
  /** Its device and inode, as `OpenedFile` has them. */
  readonly identity: string;
  readonly descriptor: Descriptor;
}

/**
 * The paths of children that fit `image` as it is now, in the folder of its name and that of its file.
 *
 * @param except the identity of a file that does not count
 */
export function childrenBeside(image: ImageFile, except?: string): string[] {
  const end = performance.now() + LOOK_MS;
  const children: string[] = [];
  for (const path of filesBeside(image.path)) {
    if (performance.now() > end) break;
    if (isChild(path, image, except)) children.push(path);
  }
  return children;
}

/**
 * `has a child, FILE, that no longer fits`, for a sentence about their parent.
 *
 * @param isOther whether it has a child besides these
 */
export function describeChildren(children: readonly string[], isOther = false): string {
  const [first = '', second] = children;
  if (second === undefined) {
    return `has ${isOther ? 'another' : 'a'} child, ${first}, that no longer fits`;
  }
  const shown = children.slice(0, SHOWN_MAX);
  const more = children.length - shown.length;
  const last = more > 0 ? `${more} more` : (shown.pop() ?? '');
  return `has ${children.length}${isOther ? ' other' : ''} children, ${shown.join(', ')} and ${last}, that no longer fit`;
}

/** Regular files in the folders of `path`, those first that are called as images are. */
function filesBeside(path: string): string[] {
  const folders = new Map<string, string>();
  const images: string[] = [];
  const others: string[] = [];
  try {
    folders.set(dirname(realpathSync(path)), dirname(realpathSync(path)));
    folders.set(realpathSync(dirname(path)), dirname(path));
    for (const folder of folders.values()) {
      for (const name of fileNamesIn(folder)) {
        (name.endsWith('.vmdk') ? images : others).push(join(folder, name));
      }
    }
  } catch {
    // Not ours to list; what was found is looked at.
  }
  return [...images, ...others].slice(0, FILES_MAX);
}

function isChild(path: string, image: ImageFile, except: string | undefined): boolean {
  try {
    const stats = lstatSync(path);
    const identity = `${stats.dev}:${stats.ino}`;
    if (!stats.isFile() || identity === image.identity || identity === except) return false;
    const descriptor = descriptorOf(path);
    return descriptor !== undefined && leadsTo(image, path, descriptor);
  } catch {
    return false; // gone, not ours to read, or no image
  }
}

/** Whether an image at `path` with `descriptor` has `image` for its parent, and fits it. */
function leadsTo(image: ImageFile, path: string, descriptor: Descriptor): boolean {
  const { parentFileNameHint: hint, virtualBox } = descriptor;
  if (cidMismatch({ path, descriptor }, image) !== undefined) return false;
  if (hint === undefined) {
    const { parent } = virtualBox;
    return parent !== undefined && parent === image.descriptor.virtualBox.image;
  }
  const policy = policyOf({ readOnly: true, allowOutside: true });
  const child = HostSource.named(new OpenedFiles(), path, policy);
  const parent = findFirst(child, decodeFileNames(hint, descriptor), 'parent');
  if (parent === undefined) return false;
  const { dev, ino } = statSync(parent.path);
  return `${dev}:${ino}` === image.identity;
}
