/** From a child to its parent: the file that its hint means, and whether it is still the same. */
import { formatCid, isCutOffCid } from '../vmdk/cid.js';
import { mergedCidsOf, type Descriptor } from '../vmdk/descriptor.js';
import { decodeFileNames } from '../vmdk/file-names.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { isCutOffModification, mergedModifications } from '../vmdk/virtualbox-link.js';
import { findFirst, type FileSource } from './file-source.js';
import { findVirtualBoxParent } from './virtualbox-parent.js';

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
  const { parentCid, parentFileNameHint: hint, virtualBox } = child.descriptor;
  if (hint === undefined) {
    if (virtualBox.parent !== undefined) return findVirtualBoxParent(child, virtualBox.parent);
    if (parentCid === undefined) return undefined;
    throw new VmdkError(
      'VMDK_BAD_DESCRIPTOR',
      child.path,
      `has a parentCID (${formatCid(parentCid)}) but no parentFileNameHint that names the parent`,
    );
  }
  const names = decodeFileNames(hint, child.descriptor);
  const found = findFirst(child.source, names, 'parent');
  if (found !== undefined) return found;
  const [name] = names;
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
  return isCidCutOff(child, parent) || isModificationCutOff(child.descriptor, parent.descriptor);
}

function isCidCutOff(child: Described, parent: Described): boolean {
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
  if (parentCidText === undefined || isParentCid(child.descriptor, parent.descriptor)) {
    return modificationMismatch(child.descriptor, parent);
  }
  if (isCidCutOff(child, parent)) return modificationMismatch(child.descriptor, parent);
  const { cid, cidText } = parent.descriptor;
  if (parentCid !== undefined && (cid !== undefined || cidText === undefined)) {
    return `expects parent CID ${formatCid(parentCid)}, but ${parent.path} has CID ${describeCid(parent.descriptor)}; the parent was modified after the child was made`;
  }
  return `has the parent CID ${JSON.stringify(parentCidText)}, and ${parent.path} the CID ${describeCid(parent.descriptor)}; the two cannot be compared, so the parent may have been modified after the child was made`;
}

/**
 * Says of a parent that VirtualBox knows what does not fit: it was modified, by the UUID that changes
 * with that; undefined where nothing says so, or only a merge that was cut off.
 */
export function modificationMismatch(child: Descriptor, parent: Described): string | undefined {
  const { parentModification: expected } = child.virtualBox;
  const { modification: found } = parent.descriptor.virtualBox;
  if (expected === undefined || expected === found) return undefined;
  // Programs that know nothing of VirtualBox may have left the line out.
  if (found === undefined && child.parentFileNameHint !== undefined) return undefined;
  if (isModificationCutOff(child, parent.descriptor)) return undefined;
  return `expects its parent with the modification UUID ${expected}, but ${parent.path} has ${found ?? 'none'}; the parent was modified after the child was made`;
}

function isModificationCutOff(child: Descriptor, parent: Descriptor): boolean {
  const { parentModification: expected } = child.virtualBox;
  const { modification: found } = parent.virtualBox;
  const merged = mergedModifications(child.virtualBox);
  if (expected === undefined || found === undefined || expected === found) return false;
  return merged.length > 0 && isCutOffModification(found, [expected, ...merged]);
}

/** Whether the parent's CID is the one that the child expects: by number, or written the same. */
export function isParentCid(child: Descriptor, parent: Descriptor): boolean {
  const { parentCid, parentCidText = '' } = child;
  if (parentCid !== undefined && parentCid === parent.cid) return true;
  // The child was made over a parent without a CID that can be read.
  if (parentCidText === '' && parent.cid === undefined) return true;
  return parentCidText !== '' && parentCidText.toLowerCase() === parent.cidText?.toLowerCase();
}

/** The CID of an image for messages. */
export function describeCid({ cid, cidText }: Pick<Descriptor, 'cid' | 'cidText'>): string {
  if (cid !== undefined) return formatCid(cid);
  return cidText === undefined ? 'none' : JSON.stringify(cidText);
}
