/**
 * VirtualBox's links between images. It knows every image by a UUID in the descriptor's data base, and
 * a child names its parent by that alone: its parentCID says that there is none, and it has no hint.
 * It does not look at CIDs: every image has a second UUID that changes with a modification, and a
 * child repeats its parent's (`Storage/VMDK.cpp` and `VD.cpp` of VirtualBox).
 */
import { createHash } from 'node:crypto';
import type { DescriptorChange } from './descriptor.js';

/** What a descriptor says of VirtualBox's links; a UUID of zeros means none, and is left out. */
export interface VirtualBoxLink {
  /** The image itself. */
  readonly image: string | undefined;
  readonly parent: string | undefined;
  readonly modification: string | undefined;
  /** The parent's modification when the child was made. */
  readonly parentModification: string | undefined;
}

/** The keys in the order of `VirtualBoxLink`, in lower case. */
const KEYS = {
  image: 'ddb.uuid.image',
  parent: 'ddb.uuid.parent',
  modification: 'ddb.uuid.modification',
  parentModification: 'ddb.uuid.parentmodification',
} as const;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const NO_UUID = '00000000-0000-0000-0000-000000000000';

/** The lines of a descriptor, as its parser has them. */
type Entries = ReadonlyMap<string, { readonly value: string; readonly start: number }>;

/** What the lines of a descriptor say; in lower case. */
export function parseVirtualBoxLink(entries: Entries): VirtualBoxLink {
  const uuid = (key: keyof typeof KEYS): string | undefined => {
    const value = entries.get(KEYS[key])?.value.toLowerCase() ?? '';
    return UUID.test(value) && value !== NO_UUID ? value : undefined;
  };
  return {
    image: uuid('image'),
    parent: uuid('parent'),
    modification: uuid('modification'),
    parentModification: uuid('parentModification'),
  };
}

/**
 * What to write so that the modification's UUID becomes `uuid`, in place: a UUID has one length.
 *
 * @returns no change where the descriptor has no such line
 */
export function changeModification(entries: Entries, uuid: string): DescriptorChange[] {
  return changeOf(entries, KEYS.modification, uuid);
}

/** The same for what a child repeats of its parent. */
export function changeParentModification(entries: Entries, uuid: string): DescriptorChange[] {
  return changeOf(entries, KEYS.parentModification, uuid);
}

function changeOf(entries: Entries, key: string, uuid: string): DescriptorChange[] {
  const entry = entries.get(key);
  if (entry === undefined || !UUID.test(entry.value)) return [];
  return [{ start: entry.start, text: uuid }];
}

/** The lines of a new child of an image with `parent`; none where VirtualBox does not know that. */
export function virtualBoxLines(
  parent: VirtualBoxLink | undefined,
  newUuid: () => string,
): readonly string[] {
  if (parent?.image === undefined) return [];
  return [
    `ddb.uuid.image = "${newUuid()}"`,
    `ddb.uuid.modification = "${newUuid()}"`,
    `ddb.uuid.parent = "${parent.image}"`,
    `ddb.uuid.parentmodification = "${parent.modification ?? NO_UUID}"`,
  ];
}

/**
 * The two UUIDs of which a parent takes one for its modification when `child` is merged into it: the
 * one that it does not have. They follow from the child alone, as `mergedCids` do.
 */
export function mergedModifications(child: VirtualBoxLink): readonly string[] {
  const { image, modification } = child;
  if (image === undefined) return [];
  return ['first', 'second'].map((turn) => {
    const seed = `${image} ${modification ?? ''} ${turn}`;
    const hex = createHash('sha256').update(seed).digest('hex');
    // Version 4, variant 1, as a random one has them.
    return hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-4$3-8$4-$5');
  });
}

/** Whether `found` is one of `uuids`, or the beginning of one and the end of another: a torn write. */
export function isCutOffModification(found: string, uuids: readonly string[]): boolean {
  return uuids.some((one) =>
    uuids.some((other) =>
      Array.from(found).some((_, at) => one.slice(0, at) + other.slice(at) === found),
    ),
  );
}
