/** From an image to its base: its parents, each checked against its child. */
import { decodeFileName } from '../vmdk/descriptor.js';
import { formatCid } from '../vmdk/cid.js';
import { CHAIN_LENGTH_MAX } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { FileSource } from './file-source.js';
import type { HostFileDescription } from './host-file.js';
import { isChecked } from './open-extent.js';
import { openLayer, type OpenedLayer } from './open-layer.js';
import type { OpenPolicy } from './open-policy.js';
import type { OpenedFiles } from './opened-files.js';

/**
 * Opens the image `source` and its parents, which are only read.
 *
 * @param notices gets what was passed over because the policy says so
 * @returns the image first, its base last
 * @throws VmdkError that says what is wrong with one of them; the system's error
 */
export function openChain(
  files: OpenedFiles,
  source: FileSource,
  policy: OpenPolicy,
  notices: string[],
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
    }
    chain.push(layer);
    next = findParent(layer);
  }
  assertDistinctFiles(chain);
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

/** The parent of `child`; undefined where it is the base. */
function findParent(child: OpenedLayer): FileSource | undefined {
  const { parentCid, parentFileNameHint: hint } = child.descriptor;
  if (hint === undefined) {
    if (parentCid === undefined) return undefined;
    throw new VmdkError(
      'VMDK_BAD_DESCRIPTOR',
      child.path,
      `has a parentCID (${formatCid(parentCid)}) but no parentFileNameHint that names the parent`,
    );
  }
  const name = decodeFileName(hint, child.descriptor);
  const found = child.source.find(name, 'parent');
  if (found !== undefined) return found;
  throw new VmdkError(
    'VMDK_MISSING_FILE',
    child.path,
    `its parent ${JSON.stringify(name)} does not exist; put it beside the child`,
  );
}

/** A parent that was modified does not fit its child any more: the disk is a mixture of two states. */
function checkCid(
  child: OpenedLayer,
  parent: OpenedLayer,
  policy: OpenPolicy,
  notices: string[],
): void {
  const expected = child.descriptor.parentCid;
  const found = parent.descriptor.cid;
  if (expected === undefined || expected === found) return;
  const what = `expects parent CID ${formatCid(expected)}, but ${parent.path} has CID ${found === undefined ? 'none' : formatCid(found)}; the parent was modified after the child was made`;
  if (!policy.force) {
    throw new VmdkError(
      'VMDK_CID_MISMATCH',
      child.path,
      `${what}, and the disk may be a mixture of both; --force goes on all the same`,
    );
  }
  notices.push(`${child.path}: ${what}; going on all the same`);
}

/** One use of a file by a disk; `depth` counts the layers above. */
interface FileUse {
  readonly depth: number;
  readonly kind: 'descriptor' | 'sparse' | 'plain';
  readonly file: HostFileDescription;
}

/**
 * Refuses a disk that uses a file twice where that cannot be meant: a sparse file as two extents,
 * which would allocate over each other; a file that is written and is also a parent's, or a
 * descriptor. Plain extents of one image may share a file, each at its own place.
 */
function assertDistinctFiles(chain: readonly OpenedLayer[]): void {
  const uses = new Map<string, FileUse[]>();
  const add = (identity: string, use: FileUse): void => {
    const group = uses.get(identity);
    // One file may be thousands of extents.
    if (group === undefined) uses.set(identity, [use]);
    else group.push(use);
  };
  chain.forEach((layer, depth) => {
    const { descriptorFile, extents, identity, isEmbedded } = layer;
    const { file, isOwnFile } = descriptorFile;
    if (isOwnFile && !isEmbedded) add(identity, { depth, kind: 'descriptor', file });
    for (const extent of extents) {
      if (extent.file === undefined) continue;
      const kind = isChecked(extent.description) ? 'sparse' : 'plain';
      add(extent.file.identity, { depth, kind, file: extent.file });
    }
  });
  for (const group of uses.values()) {
    if (!isConflict(group, chain[0]?.readOnlyReason !== undefined)) continue;
    throw new VmdkError(
      'VMDK_FILE_USED_TWICE',
      chain[0]?.path ?? '',
      `the disk uses ${group[0]?.file.path ?? ''} ${group.length} times; only one of the uses can be right`,
    );
  }
}

function isConflict(uses: readonly FileUse[], readOnly: boolean): boolean {
  if (uses.filter(({ kind }) => kind === 'sparse').length > 1) return true;
  const isWritten = uses.some(({ depth, kind }) => depth === 0 && kind !== 'descriptor');
  if (readOnly || !isWritten || uses.length === 1) return false;
  return uses.some(({ depth, kind }) => depth > 0 || kind !== 'plain');
}
