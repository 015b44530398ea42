/** From an image to its base: its parents, each checked against its child. */
import { CHAIN_LENGTH_MAX } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { FileSource } from './file-source.js';
import { FileUses } from './file-uses.js';
import { cidMismatch, findParent, isMergeCutOff } from './find-parent.js';
import { isChecked } from './open-extent.js';
import { openLayer, type OpenedLayer } from './open-layer.js';
import type { OpenPolicy } from './open-policy.js';
import type { OpenedFiles } from './opened-files.js';

/**
 * Opens the image `source` and its parents, which are only read.
 *
 * @param notices gets what was passed over because the policy says so
 * @param parent the parent of the image, instead of the one that it names
 * @returns the image first, its base last
 * @throws VmdkError that says what is wrong with one of them; the system's error
 */
export function openChain(
  files: OpenedFiles,
  source: FileSource,
  policy: OpenPolicy,
  notices: string[],
  parent?: FileSource,
): OpenedLayer[] {
  const chain: OpenedLayer[] = [];
  for (let next: FileSource | undefined = source; next !== undefined;) {
    if (chain.length === CHAIN_LENGTH_MAX) {
      throw new VmdkError(
        'VMDK_CHAIN_TOO_LONG',
        source.path,
        `has more than ${CHAIN_LENGTH_MAX} links to its base`,
      );
    }
    const child = chain.at(-1);
    const readOnly = policy.readOnly || child !== undefined;
    const layer = openLayer(files, next, { ...policy, readOnly });
    if (child !== undefined) {
      assertNoLoop(chain, child, layer);
      checkCid(child, layer, policy, notices);
      checkMerge(child, layer, policy, notices);
    }
    chain.push(layer);
    next = (child === undefined ? parent : undefined) ?? findParent(layer);
  }
  assertDistinctFiles(chain);
  notices.push(...files.takeRemarks());
  return chain;
}

function assertNoLoop(
  chain: readonly OpenedLayer[],
  child: OpenedLayer,
  parent: OpenedLayer,
): void {
  if (!chain.some(({ identity }) => identity === parent.identity)) return;
  throw new VmdkError(
    'VMDK_CHAIN_LOOP',
    child.path,
    `its parent ${parent.path} is also its child; the chain has no base`,
  );
}

/** The refusal of what only a child can do. */
export function noParent(path: string): VmdkError {
  return new VmdkError(
    'VMDK_NO_PARENT',
    path,
    'has no parent; a child that holds only what differs is made with vmdkfs create --backing',
  );
}

/**
 * Where a merge was cut off between the two CIDs the next write to the child would change its own,
 * and with it what says that the parent's is right.
 */
function checkMerge(
  child: OpenedLayer,
  parent: OpenedLayer,
  policy: OpenPolicy,
  notices: string[],
): void {
  if (policy.isMerge === true || !isMergeCutOff(child, parent)) return;
  const what = `merging it into ${parent.path} was cut off`;
  if (child.readOnlyReason !== undefined) {
    notices.push(`${child.path}: ${what}; the disk is right, and vmdkfs commit goes on with it`);
    return;
  }
  throw new VmdkError(
    'VMDK_MERGE_CUT_OFF',
    child.path,
    `${what}; run vmdkfs commit again, or mount with -o ro`,
  );
}

/** A parent that was modified does not fit its child any more: the disk is a mixture of two states. */
function checkCid(
  child: OpenedLayer,
  parent: OpenedLayer,
  policy: OpenPolicy,
  notices: string[],
): void {
  const what = cidMismatch(child, parent);
  if (what === undefined) return;
  if (!policy.force) {
    throw new VmdkError(
      'VMDK_CID_MISMATCH',
      child.path,
      `${what}, and the disk may be a mixture of both; --force goes on all the same`,
    );
  }
  notices.push(`${child.path}: ${what}; going on all the same`);
}

/**
 * Refuses a disk that uses a file twice where that cannot be meant.
 *
 * @throws VmdkError VMDK_FILE_USED_TWICE
 */
export function assertDistinctFiles(chain: readonly OpenedLayer[]): void {
  const uses = new FileUses();
  chain.forEach((layer, depth) => {
    const { descriptorFile, extents, identity, isEmbedded } = layer;
    const { file, isOwnFile } = descriptorFile;
    if (isOwnFile && !isEmbedded)
      uses.add(identity, { depth, kind: 'descriptor', path: file.path });
    for (const extent of extents) {
      if (extent.file === undefined) continue;
      const kind = isChecked(extent.description) ? 'sparse' : 'plain';
      uses.add(extent.file.identity, { depth, kind, path: extent.file.path });
    }
  });
  const [conflict] = uses.conflicts(chain[0]?.readOnlyReason !== undefined);
  if (conflict === undefined) return;
  throw new VmdkError(
    'VMDK_FILE_USED_TWICE',
    chain[0]?.path ?? '',
    `the disk uses ${conflict.path} ${conflict.count} times; only one of the uses can be right`,
  );
}
