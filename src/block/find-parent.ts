/** From a child to its parent: the file that its hint means, and whether it is still the same. */
import { formatCid, isCutOffCid } from '../vmdk/cid.js';
import { decodeFileName, mergedCidsOf, type Descriptor } from '../vmdk/descriptor.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { FileSource } from './file-source.js';

/** What is needed of an image to find its parent, and to tell whether it is one. */
export interface Linked {
  readonly path: string;
  readonly source: FileSource;
  readonly descriptor: Descriptor;
}

/** What is needed of an image to tell whether it fits another. */
type Described = Omit<Linked, 'source'>;

/**
 * The parent of `child`; undefined where it is the base.
 *
 * @throws VmdkError that says why it cannot be found; the system's error
 */
export function findParent(child: Linked): FileSource | undefined {
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

/**
 * Whether the merging of `child` into `parent` was cut off between the two CIDs, before anything was
 * copied. The parent has a CID that only this merge gives it, so it has changed at most where the
 * child holds the same bytes: the disk is right.
 */
export function isMergeCutOff(child: Described, parent: Described): boolean {
  const expected = child.descriptor.parentCid;
  const found = parent.descriptor.cid;
  const merged = mergedCidsOf(child.descriptor);
  if (expected === undefined || found === undefined || merged === undefined) return false;
  return expected !== found && isCutOffCid(found, [expected, ...merged]);
}

/**
 * Says of a parent that was modified after its child was made what does not fit; undefined where it
 * was not, or only by a merge that was cut off. The disk is a mixture of two states otherwise.
 */
export function cidMismatch(child: Described, parent: Described): string | undefined {
  const { parentCid, parentCidText } = child.descriptor;
  if (parentCidText === undefined || isParentCid(child.descriptor, parent.descriptor)) return;
  if (isMergeCutOff(child, parent)) return undefined;
  const { cid, cidText } = parent.descriptor;
  if (parentCid !== undefined && (cid !== undefined || cidText === undefined)) {
    return `expects parent CID ${formatCid(parentCid)}, but ${parent.path} has CID ${describeCid(parent.descriptor)}; the parent was modified after the child was made`;
  }
  return `has the parent CID ${JSON.stringify(parentCidText)}, and ${parent.path} the CID ${describeCid(parent.descriptor)}; the two cannot be compared, so the parent may have been modified after the child was made`;
}

/** Whether the parent's CID is the one that the child expects: by number, or written the same. */
export function isParentCid(child: Descriptor, parent: Descriptor): boolean {
  const { parentCid, parentCidText = '' } = child;
  if (parentCid !== undefined && parentCid === parent.cid) return true;
  return parentCidText !== '' && parentCidText.toLowerCase() === parent.cidText?.toLowerCase();
}

/** The CID of an image for messages. */
export function describeCid({ cid, cidText }: Pick<Descriptor, 'cid' | 'cidText'>): string {
  if (cid !== undefined) return formatCid(cid);
  return cidText === undefined ? 'none' : JSON.stringify(cidText);
}
