/**
 * Opening an image so that it stays as it is: all writes go to a child, the overlay, and the image
 * and its parents are opened for reading only. That also makes writable what never is: compressed
 * grains, disks in archives, files that may only be read.
 *
 * The image is named together with its overlay, so the name by which the child knows its parent is
 * not followed; that the two belong together is seen from CID and size.
 */
import { basename, dirname, resolve } from 'node:path';
import { realpathSync } from '../os/host-fs.js';
import { systemError } from '../errno.js';
import type { Descriptor } from '../vmdk/descriptor.js';
import { decodeFileName, decodeFileNames } from '../vmdk/file-names.js';
import { CHAIN_LENGTH_MAX } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { hintTo, isOutsideFolder } from './create-image.js';
import { HostSource, type FileSource } from './file-source.js';
import { findDescriptor } from './find-descriptor.js';
import { describeCid, isParentCid, modificationMismatch } from './find-parent.js';
import { FileLocks } from './image-locks.js';
import { isEmptyOrMissing, NewOverlay } from './new-overlay.js';
import { assertDistinctFiles, openChain } from './open-chain.js';
import { finishOpening, sourceOf, type OpenedImage, type OpenOptions } from './open-image.js';
import { openLayer, type OpenedLayer } from './open-layer.js';
import { policyOf, type OpenPolicy } from './open-policy.js';
import { OpenedFiles, type OpenedFile } from './opened-files.js';

/** Where the writes to an image go that is not to be changed: to a child, made if missing, or away. */
export type OverlayPlace =
  | { readonly kind: 'file'; readonly path: string }
  /** A child without a name, on the file system of `folder`. */
  | { readonly kind: 'snapshot'; readonly folder: string };

/** An image that is open with its overlay. */
export interface OverlaidImage {
  readonly image: OpenedImage;
  /** Removes an overlay that was made by opening; for a mount that fails, before it is closed. */
  readonly takeBack: () => void;
}

/**
 * Opens the disk of the image `path` with an overlay on top. An existing overlay has to be a child of
 * the image in the state that it is in. Read-only, the overlay has to exist.
 *
 * @throws VmdkError VMDK_WRONG_OVERLAY, VMDK_CID_MISMATCH where the two do not belong together, and
 *   all that `openImage` throws; ENOENT; the system's error. Nothing is made or changed then
 */
export function openOverlaid(
  path: string,
  options: OpenOptions,
  place: OverlayPlace,
): OverlaidImage {
  const notices: string[] = [];
  const files = new OpenedFiles(options.lock === true ? new FileLocks(notices) : undefined);
  const policy = { ...policyOf(options), readOnly: true };
  let made: NewOverlay | undefined;
  try {
    const source = sourceOf(files, path, policy, options.disk, notices);
    const base = openChain(files, source, policy, notices);
    assertShort(base, path);
    const parent = { source, layers: base, path };
    let top: OpenedLayer;
    if (place.kind === 'snapshot' || isEmptyOrMissing(place.path)) {
      made = makeOverlay(files, parent, options, place, notices);
      top = openLayer(files, made.source, { ...policyOf(options), readOnly: false });
    } else {
      top = openChild(files, parent, options, place.path, notices);
    }
    notices.push(...files.takeRemarks());
    const chain = [top, ...base];
    assertDistinctFiles(chain);
    const image = finishOpening(chain, source.member, options, notices);
    return { image, takeBack: () => made?.takeBack() };
  } catch (error) {
    made?.takeBack();
    files.closeAll();
    throw error;
  }
}

/** The image that an overlay lies over: as it was named, and what was opened. */
interface Base {
  readonly path: string;
  readonly source: FileSource;
  /** The image first. */
  readonly layers: readonly OpenedLayer[];
}

function assertShort(base: readonly OpenedLayer[], path: string): void {
  if (base.length < CHAIN_LENGTH_MAX) return;
  throw new VmdkError(
    'VMDK_CHAIN_TOO_LONG',
    path,
    `has ${base.length} links to its base already; an overlay would be one too many`,
  );
}

function makeOverlay(
  files: OpenedFiles,
  base: Base,
  options: OpenOptions,
  place: OverlayPlace,
  notices: string[],
): NewOverlay {
  if (options.readOnly) {
    const name = place.kind === 'file' ? place.path : 'snapshot';
    throw systemError('ENOENT', `${name}: there is no overlay, and read-only none is made`);
  }
  const [image] = base.layers;
  const { cid, virtualBox } = image?.descriptor ?? {};
  const parent = { size: image?.size ?? 0, cid, virtualBox };
  if (place.kind === 'snapshot') {
    const name = `the snapshot of ${base.path} in ${place.folder}`;
    return NewOverlay.nameless(files, place.folder, name, parent);
  }
  const { member } = base.source;
  // Out of its archive and beside the overlay, the disk is the same parent for everybody.
  const hint = member === undefined ? hintTo(place.path, base.path) : basename(member);
  const locks = options.lock === true ? notices : undefined;
  const made = NewOverlay.at(files, place.path, { ...parent, hint }, locks);
  noteParentName(place.path, base, hint, notices);
  return made;
}

/** Says what else than this mount needs to find the parent of a new overlay. */
function noteParentName(overlay: string, base: Base, hint: string, notices: string[]): void {
  if (base.source.member !== undefined) {
    notices.push(
      `${overlay}: its parent is a disk inside an archive, so mount the two together; by itself it can be opened only where ${JSON.stringify(hint)}, taken out of the archive, lies in its folder`,
    );
  } else if (isOutsideFolder(overlay, base.path)) {
    notices.push(
      `${overlay}: its parent ${base.path} lies outside its folder; QEMU finds it as ${JSON.stringify(hint)} as long as neither is moved, and mounting the overlay by itself needs --allow-outside`,
    );
  }
}

/** Opens an overlay that exists; it is looked at before it is opened for writing. */
function openChild(
  files: OpenedFiles,
  base: Base,
  options: OpenOptions,
  path: string,
  notices: string[],
): OpenedLayer {
  const policy = policyOf(options);
  const probe = files.open(path);
  assertApart(base, probe);
  const { descriptor } = findDescriptor(probe);
  assertChild(base, descriptor, path, policy, notices);
  const layer = openLayer(files, sameFile(files, probe, policy), policy);
  if (!policy.readOnly && layer.readOnlyReason !== undefined) {
    throw new VmdkError(
      'VMDK_WRONG_OVERLAY',
      path,
      `cannot be written: ${layer.readOnlyReason}; name another overlay, or look at this one with -o ro`,
    );
  }
  noteLostParent(base, descriptor, path, notices);
  return layer;
}

/** The file that is open as `probe`, once more as where a layer comes from. */
function sameFile(files: OpenedFiles, probe: OpenedFile, policy: OpenPolicy): FileSource {
  const named = HostSource.named(files, probe.path, policy);
  return {
    path: probe.path,
    readOnlyReason: undefined,
    member: undefined,
    open: () => probe,
    find: (name, as, isExact) => named.find(name, as, isExact),
    searchPlaces: () => named.searchPlaces(),
    at: (path) => named.at(path),
  };
}

/** An overlay that is one of the files beneath it would be changed, and they with it. */
function assertApart(base: Base, { identity, path }: OpenedFile): void {
  const used = base.layers.flatMap((layer) => [
    layer.identity,
    ...layer.extents.map(({ file }) => file?.identity),
  ]);
  // What is inside an archive has the archive's identity and its place there.
  if (!used.some((each) => each === identity || each?.startsWith(`${identity}:`))) return;
  throw new VmdkError(
    'VMDK_WRONG_OVERLAY',
    path,
    `is a file of the image ${base.path} itself, which an overlay is to keep as it is; name a new file`,
  );
}

function assertChild(
  base: Base,
  child: Descriptor,
  path: string,
  policy: OpenPolicy,
  notices: string[],
): void {
  if (!isChild(child)) {
    throw new VmdkError(
      'VMDK_WRONG_OVERLAY',
      path,
      `is an image of its own, and no child of ${base.path}; name a new file, or a child of it`,
    );
  }
  const size = child.extents.reduce((sum, extent) => sum + extent.size, 0);
  const [parent] = base.layers;
  if (size !== parent?.size) {
    throw new VmdkError(
      'VMDK_WRONG_OVERLAY',
      path,
      `is a disk of ${size} bytes, and ${base.path} one of ${parent?.size ?? 0}; it belongs to another image`,
    );
  }
  const what = whatDiffers(child, parent.descriptor, base.path);
  if (what === undefined) return;
  if (!policy.force) {
    throw new VmdkError(
      'VMDK_CID_MISMATCH',
      path,
      `${what}; --force goes on all the same, and the disk may be a mixture of both`,
    );
  }
  notices.push(`${path}: ${what}; going on all the same`);
}

function isChild({ parentCidText, parentFileNameHint, virtualBox }: Descriptor): boolean {
  return [parentCidText, parentFileNameHint, virtualBox.parent].some((each) => each !== undefined);
}

/** What says that `child` is not the child of `parent` as it is; undefined where nothing does. */
function whatDiffers(child: Descriptor, parent: Descriptor, path: string): string | undefined {
  const since = 'it belongs to another image, or that was modified since';
  const isVirtualBox = child.parentCidText === undefined && child.virtualBox.parent !== undefined;
  if (isVirtualBox && child.virtualBox.parent !== parent.virtualBox.image) {
    return `is the child of the image with the UUID ${child.virtualBox.parent}, and ${path} has the UUID ${parent.virtualBox.image ?? 'none'}: it belongs to another image`;
  }
  if (!isVirtualBox && !isParentCid(child, parent)) {
    return `is the child of an image with CID ${cidText(child)}, and ${path} has CID ${describeCid(parent)}: ${since}`;
  }
  const modified = modificationMismatch(child, { path, descriptor: parent });
  return modified === undefined ? undefined : `${modified}: ${since}`;
}

function cidText({ parentCid, parentCidText }: Descriptor): string {
  return describeCid({ cid: parentCid, cidText: parentCidText });
}

/** Says of an overlay that it calls its parent something else than what it lies over here. */
function noteLostParent(base: Base, child: Descriptor, path: string, notices: string[]): void {
  const hint = child.parentFileNameHint;
  if (base.source.member !== undefined || hint === undefined) return;
  const name = decodeFileName(hint, child);
  const folder = dirname(realpathSync(path));
  const places = decodeFileNames(hint, child).map((each) => realPathIfAny(resolve(folder, each)));
  if (places.includes(realpathSync(base.path))) return;
  notices.push(
    `${path}: calls its parent ${JSON.stringify(name)}, which is not ${base.path}; QEMU, and a mount of the overlay by itself, will not find it`,
  );
}

function realPathIfAny(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
