/**
 * Children of an image that is about to be written, as far as they lie beside it. A child shows its
 * parent wherever it holds nothing itself, and is refused once its parent has changed; who writes to
 * a base has mostly taken it for the newest state.
 */
import { statSync } from '../os/host-fs.js';
import type { Descriptor } from '../vmdk/descriptor.js';
import { decodeFileNames } from '../vmdk/file-names.js';
import { findFirst, HostSource } from './file-source.js';
import { cidMismatch } from './find-parent.js';
import { imagesBeside } from './images-beside.js';
import { OpenedFiles } from './opened-files.js';
import { policyOf } from './open-policy.js';

/** Children that are named. */
const SHOWN_MAX = 3;

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
  const passed = [image.identity, ...(except === undefined ? [] : [except])];
  const children: string[] = [];
  for (const { descriptor, path } of imagesBeside(image.path, passed)) {
    if (isChild(path, image, descriptor)) children.push(path);
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

function isChild(path: string, image: ImageFile, descriptor: Descriptor): boolean {
  try {
    return leadsTo(image, path, descriptor);
  } catch {
    return false; // gone, or not ours to follow
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
