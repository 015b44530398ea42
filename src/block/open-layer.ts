/**
 * Opening one image file, of any kind, without its parent: a sparse file with its descriptor
 * inside, or a descriptor that names its extents.
 */
import { randomUUID } from 'node:crypto';
import type { Descriptor } from '../vmdk/descriptor.js';
import { firstWriteChanges } from '../vmdk/first-write.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { FileSource } from './file-source.js';
import { findDescriptor, type DescriptorPlace } from './find-descriptor.js';
import type { DescriptorFile, LayerWrite } from './image-layer.js';
import { isChecked, openExtent, type OpenedExtent } from './open-extent.js';
import { changeTracked } from './open-hosted.js';
import type { OpenPolicy } from './open-policy.js';
import type { OpenedFile, OpenedFiles } from './opened-files.js';
import { plainPlace } from './plain-place.js';
import { randomCid } from './random-cid.js';

/** An image file that is open and checked. */
export interface OpenedLayer {
  readonly source: FileSource;
  readonly path: string;
  readonly identity: string;
  readonly descriptor: Descriptor;
  readonly extents: readonly OpenedExtent[];
  /** Bytes. */
  readonly size: number;
  /** Why nothing of it is written; undefined where something is. */
  readonly readOnlyReason: string | undefined;
  readonly descriptorFile: DescriptorFile;
  /** Where the descriptor begins in its file, bytes. */
  readonly descriptorOffset: number;
  readonly firstWrites: readonly LayerWrite[];
  /** Whether the descriptor is inside the file of the first extent. */
  readonly isEmbedded: boolean;
  /** Whether a sparse extent's header says that it was not closed. */
  readonly isUnclean: boolean;
}

/**
 * Opens the image file `source`.
 *
 * @throws VmdkError that says what is wrong with it; the system's error
 */
export function openLayer(files: OpenedFiles, source: FileSource, policy: OpenPolicy): OpenedLayer {
  const place = placeOf(files, source.open(), policy);
  const { descriptor } = place;
  const { path } = source;
  assertUsable(descriptor, path);
  const context = { files, source, descriptor: place, use: policy };
  const extents: OpenedExtent[] = [];
  let size = 0;
  for (const line of descriptor.extents) {
    extents.push(openExtent(context, line, size));
    size += line.size;
  }
  if (!Number.isSafeInteger(size)) {
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      path,
      `its extents add up to ${size} bytes, more than can be addressed`,
    );
  }
  const isWritten = extents.some(({ readOnlyReason }) => readOnlyReason === undefined);
  if (isWritten) assertUntracked(descriptor, path, policy);
  const isPlain = policy.plain !== undefined;
  const { file, isInside, isOwnFile } = isPlain
    ? { file: extents[0]?.file ?? place.file, isInside: true, isOwnFile: false }
    : descriptorFile(files, place, extents, isWritten);
  return {
    source,
    path,
    identity: file.identity,
    descriptor,
    extents,
    size,
    readOnlyReason: isWritten ? undefined : extents[0]?.readOnlyReason,
    descriptorFile: { file, isOwnFile },
    descriptorOffset: place.offset,
    firstWrites:
      isWritten && !isPlain
        ? [...planDescriptorWrites(place, file, policy), ...extents.flatMap(untrackWrite)]
        : [],
    isEmbedded: isInside,
    isUnclean: extents.some(({ description }) => isChecked(description) && description.isUnclean),
  };
}

function placeOf(files: OpenedFiles, file: OpenedFile, policy: OpenPolicy): DescriptorPlace {
  if (policy.plain === undefined) return findDescriptor(file);
  files.remark(policy.plain(file, policy.readOnly));
  return plainPlace(file);
}

function assertUsable(descriptor: Descriptor, path: string): void {
  if (descriptor.isEncrypted) {
    throw new VmdkError(
      'VMDK_ENCRYPTED',
      path,
      'the disk is encrypted; decrypt it with VMware first',
    );
  }
  if (descriptor.extents.length > 0) return;
  throw new VmdkError(
    'VMDK_NO_EXTENTS',
    path,
    'its descriptor names no extent; restore it from a backup',
  );
}

function assertUntracked(descriptor: Descriptor, path: string, policy: OpenPolicy): void {
  if (descriptor.changeTrackPath === undefined || policy.dropChangeTracking) return;
  const tracker = JSON.stringify(descriptor.changeTrackPath);
  throw changeTracked(path, `its descriptor names ${tracker}: changes`);
}

/**
 * The open file of the descriptor: that of the first extent where it is inside and written with it,
 * else one of its own, which is written only where an extent is.
 */
function descriptorFile(
  files: OpenedFiles,
  place: DescriptorPlace,
  extents: readonly OpenedExtent[],
  isWritten: boolean,
): { file: OpenedFile; isInside: boolean; isOwnFile: boolean } {
  const first = extents[0]?.file;
  const isInside = place.embeddedIn !== undefined && first?.identity === place.file.identity;
  const isFirstWritten = extents[0]?.readOnlyReason === undefined;
  if (isInside && (!isWritten || isFirstWritten))
    return { file: first, isInside, isOwnFile: false };
  const file = isWritten ? reopened(files, place, isInside) : place.file;
  return { file, isInside, isOwnFile: true };
}

/** An extent that is not written keeps the file it was found in. */
function reopened(files: OpenedFiles, place: DescriptorPlace, isShared: boolean): OpenedFile {
  return files.openForWriting(isShared ? files.open(place.file.path) : place.file);
}

/** What ends change tracking in the header of an extent. */
function untrackWrite({ description, file, readOnlyReason }: OpenedExtent): LayerWrite[] {
  if (!isChecked(description) || file === undefined || readOnlyReason !== undefined) return [];
  return description.untrack === undefined ? [] : [{ file, ...description.untrack }];
}

/** What the first write changes in the descriptor, which is in `file`. */
function planDescriptorWrites(
  place: DescriptorPlace,
  file: OpenedFile,
  { newCid, newModification }: OpenPolicy,
): LayerWrite[] {
  const { descriptor, offset } = place;
  const identity = {
    cid: newCid ?? randomCid(descriptor.cid),
    modification: newModification ?? randomUUID(),
  };
  return firstWriteChanges(descriptor, identity, place, file.path).map(({ start, text }) => ({
    file,
    position: offset + start,
    bytes: Buffer.from(text, 'latin1'),
  }));
}
