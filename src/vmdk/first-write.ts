/**
 * What the first write to an image changes in its descriptor, so that everybody notices who holds it
 * for what it was: its children by the CID, those of VirtualBox by the modification's UUID, and backup
 * programs by the end of change tracking.
 */
import {
  changeCid,
  dropChangeTracking,
  type Descriptor,
  type DescriptorChange,
} from './descriptor.js';
import { SECTOR_BYTES } from './limits.js';
import { changeModification } from './virtualbox-link.js';

/** What the descriptor gets. */
export interface NewIdentity {
  readonly cid: number;
  /** A UUID. */
  readonly modification: string;
}

/**
 * What to write, in this order.
 *
 * @param place where the descriptor begins in its file, and how many bytes it may have
 * @param file for messages
 * @throws VmdkError VMDK_BAD_DESCRIPTOR where a CID of eight digits does not fit
 */
export function firstWriteChanges(
  descriptor: Descriptor,
  { cid, modification }: NewIdentity,
  place: { readonly offset: number; readonly room: number },
  file: string,
): DescriptorChange[] {
  const untracked = dropChangeTracking(descriptor);
  const modified = changeModification(descriptor.entries, modification);
  const text = withChanges(untracked.descriptor.text, modified);
  const cids = changeCid({ ...untracked.descriptor, text }, cid, place.room, file);
  const changes = [...untracked.changes, ...modified, ...cids];
  const digits = descriptor.entries.get('cid')?.value.length ?? DIGITS;
  // Text that moves is written last, with everything in it.
  return digits >= DIGITS ? joinChanges(descriptor.text, changes, place.offset) : changes;
}

const DIGITS = 8;

/** `text` with `changes` of which none makes it longer. */
function withChanges(text: string, changes: readonly DescriptorChange[]): string {
  return changes.reduce(
    (before, { start, text: insert }) =>
      before.slice(0, start) + insert + before.slice(start + insert.length),
    text,
  );
}

/**
 * `changes` of `text`, which begins at byte `offset` of its file: those that share a sector are one,
 * because a sector is written whole or not at all.
 */
function joinChanges(
  text: string,
  changes: readonly DescriptorChange[],
  offset: number,
): DescriptorChange[] {
  const changed = withChanges(text, changes);
  const sectorOf = (at: number): number => Math.floor((offset + at) / SECTOR_BYTES);
  const joined: { start: number; end: number }[] = [];
  for (const change of [...changes].sort((a, b) => a.start - b.start)) {
    const end = change.start + change.text.length;
    const last = joined.at(-1);
    if (last !== undefined && sectorOf(last.start) === sectorOf(end - 1)) {
      last.end = Math.max(last.end, end);
    } else joined.push({ start: change.start, end });
  }
  return joined.map(({ end, start }) => ({ start, text: changed.slice(start, end) }));
}
