/**
 * Merging a child into its parent (`vmdkfs commit`). The child keeps all that it holds until the
 * parent has it durably, and the parent is changed only where the child covers it, so at every moment
 * the disk that the two make is the same. What can go wrong is the link between them: the parent's
 * CID changes with its first write, and two files cannot be changed at once. So:
 *
 *   1. the parent gets its new CID, and a barrier. Which one it is follows from the child's own CID:
 *      a child whose parent has that CID has been merged into it, and fits it all the same.
 *   2. the child's parentCID becomes that CID, in place, and a barrier. From here on everybody sees
 *      a child that fits its parent.
 *   3. what the child holds is written to the parent, which is flushed and marked as closed.
 *   4. the child is emptied (`empty-extent.ts`). Its own CID stays, because its disk has not changed,
 *      so its own children stay good.
 *
 * Wherever it is cut off, it is done again from the start, with the same result. Other children of
 * the parent do not fit it any more, which is so from step 1 on: before any byte of it changes.
 */
import { describeError, toErrno } from '../errno.js';
import { libcIfAny } from '../os/libc.js';
import { changeParentCid } from '../vmdk/descriptor.js';
import { changeParentModification } from '../vmdk/virtualbox-link.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { openChildAndParent, type ChildAndParent } from './child-and-parent.js';
import { childrenBeside, describeChildren } from './children-beside.js';
import { emptyExtent } from './empty-extent.js';
import { HostFile } from './host-file.js';
import { heldRuns, type MapRun } from './image-map.js';
import type { OpenPermissions } from './open-policy.js';
import { removeChild } from './remove-child.js';

export interface MergeOptions {
  /** What child and parents are allowed to be. */
  readonly permissions: OpenPermissions;
  /** Whether the files of the child are removed instead of emptied. */
  readonly deleteChild: boolean;
  readonly lock: boolean;
  /** Told, before anything is changed, what the user may not want to happen: a sentence. */
  readonly warn: (notice: string) => void;
  /** Told how much is copied, from 0 to 1. */
  readonly progress: (share: number) => void;
}

/** What was done. */
export interface MergeReport {
  /** The parent's image file. */
  readonly parent: string;
  /** Bytes of data that were copied, and bytes that were made zeros. */
  readonly dataBytes: number;
  readonly zeroBytes: number;
  /** Whether the image file of the child is removed. */
  readonly isDeleted: boolean;
  readonly notices: readonly string[];
}

/** Bytes copied in one piece. */
const PIECE_BYTES = 1024 * 1024;

/**
 * Merges the child `path` into its parent.
 *
 * @throws VmdkError where the two cannot be merged, with nothing changed; the system's error, and
 *   then it can be done again
 */
export function mergeChild(path: string, options: MergeOptions): MergeReport {
  // Without the C library all of a grain counts as data, and nothing can be given back.
  libcIfAny();
  const notices: string[] = [];
  const pair = openChildAndParent(path, options, notices);
  const { deleteChild } = options;
  let step: Step = 'copy';
  try {
    const { dataBytes, zeroBytes } = copy(pair, options);
    step = deleteChild ? 'remove' : 'empty';
    const isDeleted = deleteChild && removeChild(pair.child, notices);
    if (!deleteChild) empty(pair, notices);
    step = 'close';
    return { parent: pair.parent.path, dataBytes, zeroBytes, isDeleted, notices };
  } catch (error) {
    throw withWayOut(error, pair, step);
  } finally {
    close(pair, step === 'close');
  }
}

/** Steps 1 to 3, where there is anything to do. */
function copy(
  pair: ChildAndParent,
  { progress, warn }: MergeOptions,
): { dataBytes: number; zeroBytes: number } {
  const { childDevice, parentDevice } = pair;
  const bytes = { data: 0, zero: 0, nothing: 0 };
  for (const { kind, length } of heldRuns(childDevice)) bytes[kind] += length;
  const total = bytes.data + bytes.zero;
  const result = { dataBytes: bytes.data, zeroBytes: bytes.zero };
  if (total === 0) return result;
  warnOfChildren(pair, warn);
  parentDevice.changeCid();
  link(pair);
  const buffer = new Uint8Array(Math.min(PIECE_BYTES, Math.max(1, bytes.data)));
  let done = 0;
  for (const run of heldRuns(childDevice)) {
    for (const count of copyRun(pair, run, buffer)) {
      done += count;
      progress(done / total);
    }
  }
  // Closed cleanly before the child has nothing more to merge: the next merge would not do it.
  parentDevice.finish();
  return result;
}

/** Other children of the parent end with the merge. */
function warnOfChildren({ child, parent }: ChildAndParent, warn: MergeOptions['warn']): void {
  const children = childrenBeside(parent, child.identity);
  if (children.length === 0) return;
  warn(
    `${parent.path}: ${describeChildren(children, true)} after this; vmdkfs convert ${child.path} makes an image of its own instead, and changes no parent`,
  );
}

/** Copies a run piece by piece; yields how many bytes each was. */
function* copyRun(pair: ChildAndParent, run: MapRun, buffer: Uint8Array): Generator<number> {
  const { childDevice, parentDevice } = pair;
  const { kind, length, start } = run;
  if (kind === 'zero') {
    parentDevice.zero(start, length);
    yield length;
    return;
  }
  for (let done = 0; done < length;) {
    const count = Math.min(buffer.length, length - done);
    childDevice.read(buffer, 0, count, start + done);
    parentDevice.write(buffer, 0, count, start + done);
    done += count;
    yield count;
  }
}

/** Step 2: the child names the parent's new CID and modification, durably. */
function link({ child, newCid, newModification, parent }: ChildAndParent): void {
  const { descriptor, descriptorFile, descriptorOffset } = child;
  const { cid, virtualBox } = parent.descriptor;
  const { parentModification } = descriptor.virtualBox;
  const changes = [
    ...(cid === undefined ? [] : changeParentCid(descriptor, newCid)),
    ...(virtualBox.modification === undefined || parentModification === undefined
      ? []
      : changeParentModification(descriptor.entries, newModification)),
  ];
  if (changes.length === 0) return;
  const file = new HostFile(descriptorFile.file);
  for (const { start, text } of changes) {
    const bytes = Buffer.from(text, 'latin1');
    file.write(bytes, 0, bytes.length, descriptorOffset + start);
  }
  file.sync();
}

/** Step 4. */
function empty({ child, childDescription }: ChildAndParent, notices: string[]): void {
  childDescription.extents.forEach((extent, index) => {
    const reason = child.extents[index]?.readOnlyReason;
    if (extent.kind === 'sparse' && reason === undefined) emptyExtent(extent);
    else if ('file' in extent) {
      notices.push(
        `${extent.file.path}: ${reason ?? 'a flat extent cannot be emptied'}, so it keeps what it holds`,
      );
    }
  });
}

/** Closes both; where something failed before, that is what the user hears of. */
function close({ childDevice }: ChildAndParent, isDone: boolean): void {
  try {
    childDevice.close();
  } catch (error) {
    if (isDone) throw error;
  }
}

/** What is being done, to say after a failure what is left to do. */
type Step = 'copy' | 'empty' | 'remove' | 'close';

/** Says what to do after a failure on the way. */
function withWayOut(error: unknown, { child, parent }: ChildAndParent, step: Step): Error {
  const held = `; ${parent.path} has everything that ${child.path} held`;
  const ways: Readonly<Record<Step, string>> = {
    copy: `; ${child.path} still holds what is missing in its parent, so run vmdkfs commit again when that is mended`,
    empty: `${held}; run vmdkfs commit again when that is mended, to empty the child`,
    remove: `${held}; remove the files of the child that are left`,
    close: '',
  };
  const way = ways[step];
  if (error instanceof VmdkError) {
    return new VmdkError(error.code, error.file, `${error.reason}${way}`, { cause: error });
  }
  const failure = new Error(`${describeError(error)}${way}`, { cause: error });
  return Object.assign(failure, { errno: toErrno(error) });
}
