/**
 * Opening a child together with its parent to merge the one into the other: both are written, the
 * parents of the parent are only read, and nobody else may use any of their files meanwhile.
 */
import { randomUUID } from 'node:crypto';
import { isZero } from '../binary/zeros.js';
import { mergedCidsOf } from '../vmdk/descriptor.js';
import { mergedModifications } from '../vmdk/virtualbox-link.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { attachImage } from './attach-image.js';
import { findParent } from './find-parent.js';
import { FileLocks } from './image-locks.js';
import { ImageLayer, type LayerDescription } from './image-layer.js';
import { heldRuns } from './image-map.js';
import { noParent, openChain } from './open-chain.js';
import { describeLayers, sourceOf } from './open-image.js';
import { isChecked } from './open-extent.js';
import type { OpenedLayer } from './open-layer.js';
import { policyOf, type OpenPermissions } from './open-policy.js';
import { OpenedFiles } from './opened-files.js';
import { newOwners } from './parent-chain.js';
import { randomCid } from './random-cid.js';

/** A child and its parent, open for writing. */
export interface ChildAndParent {
  readonly child: OpenedLayer;
  readonly parent: OpenedLayer;
  readonly childDescription: LayerDescription;
  /** Closing it closes the parent too. */
  readonly childDevice: ImageLayer;
  readonly parentDevice: ImageLayer;
  /** The CID that the parent takes with its first write. */
  readonly newCid: number;
  /** The same for the UUID by which VirtualBox tells modifications. */
  readonly newModification: string;
}

const INSTEAD = 'copy the whole disk of the child to a new image instead (vmdkfs convert)';

/**
 * Opens the child `path` and its parent, and sees to it that all that the child holds can be written
 * to the parent. Nothing is written yet.
 *
 * @throws VmdkError that says why the two cannot be merged; the system's error
 */
export function openChildAndParent(
  path: string,
  options: { readonly permissions: OpenPermissions; readonly lock: boolean },
  notices: string[],
): ChildAndParent {
  const locks = options.lock ? new FileLocks(notices) : undefined;
  const files = new OpenedFiles(locks);
  const parentFiles = new OpenedFiles(locks);
  try {
    const policy = { ...policyOf({ ...options.permissions, readOnly: false }), isMerge: true };
    const source = sourceOf(files, path, policy, undefined);
    const [child, ...beneath] = openChain(files, source, policy, notices);
    if (child === undefined) throw noParent(path);
    // A source opens files where it was made, and the tables of the parent count once only.
    const parentSource = findParent({
      ...child,
      source: sourceOf(parentFiles, path, policy, undefined),
    });
    if (parentSource === undefined) throw noParent(path);
    assertCanBeEmptied(child);
    const cid = beneath[0]?.descriptor.cid;
    const newCid =
      mergedCidsOf(child.descriptor)?.find((merged) => merged !== cid) ?? randomCid(cid);
    // What they say of the parents was said before.
    const newModification = newModificationOf(child, beneath[0]);
    const parentPolicy = { ...policy, newCid, newModification };
    const parents = openChain(parentFiles, parentSource, parentPolicy, []);
    for (const layer of beneath) closeLayer(files, layer);
    const [parent] = parents;
    if (parent === undefined) throw noParent(path);
    assertTakes(parent, child);
    const devices = attach(child, parents);
    const pair = { child, parent, ...devices, newCid, newModification };
    assertExtentsTake(pair);
    return pair;
  } catch (error) {
    files.closeAll();
    parentFiles.closeAll();
    throw error;
  }
}

/** What the parent gets follows from the child, so that a merge that is cut off can be told. */
function newModificationOf(child: OpenedLayer, parent: OpenedLayer | undefined): string {
  const before = parent?.descriptor.virtualBox.modification;
  const merged = mergedModifications(child.descriptor.virtualBox);
  return merged.find((uuid) => uuid !== before) ?? randomUUID();
}

function attach(
  child: OpenedLayer,
  parents: readonly OpenedLayer[],
): Pick<ChildAndParent, 'childDescription' | 'childDevice' | 'parentDevice'> {
  const [childDescription, ...layers] = describeLayers([child, ...parents]);
  if (childDescription === undefined) throw new RangeError('a child is described');
  const parentDevice = attachImage({ layers, owners: newOwners(layers) });
  const childDevice = new ImageLayer(childDescription, parentDevice);
  return { childDescription, childDevice, parentDevice };
}

function closeLayer(files: OpenedFiles, { descriptorFile, extents }: OpenedLayer): void {
  files.close(descriptorFile.file);
  for (const { file } of extents) if (file !== undefined) files.close(file);
}

function assertCanBeEmptied({ descriptor, extents, path, readOnlyReason }: OpenedLayer): void {
  const isTracked = extents.some(
    ({ description }) => isChecked(description) && description.untrack !== undefined,
  );
  if (isTracked || descriptor.changeTrackPath !== undefined) {
    throw new VmdkError(
      'VMDK_READ_ONLY',
      path,
      'its changes are tracked for incremental backups, and that is not ended by merging it; end it with a write to its disk, mounted with --drop-change-tracking, and merge it then',
    );
  }
  if (readOnlyReason === undefined) return;
  throw new VmdkError(
    'VMDK_READ_ONLY',
    path,
    `${readOnlyReason}, so it cannot be emptied when it is merged; ${INSTEAD}`,
  );
}

function assertTakes(parent: OpenedLayer, child: OpenedLayer): void {
  if (parent.readOnlyReason !== undefined) {
    throw new VmdkError(
      'VMDK_READ_ONLY',
      parent.path,
      `${parent.readOnlyReason}, so nothing can be merged into it; ${INSTEAD}`,
    );
  }
  if (parent.size >= child.size) return;
  throw new VmdkError(
    'VMDK_BAD_CAPACITY',
    child.path,
    `is a disk of ${child.size} bytes, and its parent ${parent.path} has only ${parent.size}; a parent does not grow, so ${INSTEAD}`,
  );
}

/** Refuses a child that holds something where the parent has an extent that cannot take it. */
function assertExtentsTake({ child, childDevice, parent }: ChildAndParent): void {
  let start = 0;
  for (const { description, line, readOnlyReason } of parent.extents) {
    const end = start + line.size;
    const kind = isChecked(description) ? 'sparse' : description.kind;
    const reason = kind === 'noaccess' ? 'its extent is NOACCESS' : readOnlyReason;
    if (reason !== undefined || kind === 'zero') {
      const at = firstHeld(childDevice, start, end, reason === undefined);
      if (at !== undefined) {
        throw new VmdkError(
          'VMDK_READ_ONLY',
          parent.path,
          `${reason ?? 'its extent is ZERO and takes no data'}, and ${child.path} holds something there (disk offset ${at}), so it cannot be merged; ${INSTEAD}`,
        );
      }
    }
    start = end;
  }
}

const PIECE_BYTES = 1024 * 1024;

/** The first byte in `[start, end)` that the child holds; undefined where there is none. */
function firstHeld(
  device: ImageLayer,
  start: number,
  end: number,
  isZeroAllowed: boolean,
): number | undefined {
  for (const run of heldRuns(device)) {
    const to = Math.min(end, run.start + run.length);
    for (let at = Math.max(start, run.start); at < to; at += PIECE_BYTES) {
      const count = Math.min(PIECE_BYTES, to - at);
      if (isZeroAllowed && isZeroRange(device, at, count)) continue;
      return at;
    }
  }
  return undefined;
}

function isZeroRange(device: ImageLayer, at: number, length: number): boolean {
  const bytes = new Uint8Array(length);
  device.read(bytes, 0, length, at);
  return isZero(bytes, 0, length);
}
