/**
 * The entries of a seSparse extent: 64 bits each, taken here as two 32-bit words, because the
 * index of a grain is spread over both and bit operations of JavaScript have 32 bits.
 *
 * The highest four bits of a grain table entry are its kind. The other 60 hold an index into the
 * region of grains, shuffled: its lowest 12 bits stand above its higher 48. An entry of the
 * backmap holds a grain of the disk in the same way. A directory entry holds the number of a
 * grain table as it is.
 */
import { VmdkError } from './vmdk-error.js';

/** Kinds of a grain table entry: the highest four bits. */
export const SeSparseKind = {
  /** The parent shows through; the rest of the entry is 0. */
  UNALLOCATED: 0,
  /** The guest discarded the grain: it reads as zeros. The index may be that of its old place. */
  UNMAPPED: 1,
  /** The grain reads as zeros, also over a parent. */
  ZEROED: 2,
  ALLOCATED: 3,
} as const;

export type SeSparseKind = (typeof SeSparseKind)[keyof typeof SeSparseKind];

/** An entry as two words, in the order of the file. */
export type EntryWords = readonly [low: number, high: number];

/** High bits of an index from here on do not fit a number exactly: 2^53 grains are 32 EiB. */
const EXACT_HIGH_BITS = 2 ** 41;

/** The high word of every directory entry that is not 0. */
const DIRECTORY_ENTRY_HIGH = 0x1000_0000;

/** The highest four bits of a backmap entry that is not 0. */
const BACKMAP_KIND = 1;

/**
 * The kind of a grain table entry.
 *
 * @throws VmdkError VMDK_BAD_GRAIN for a kind that is not known, and for an unallocated grain whose
 *   entry is not 0
 */
export function seSparseKind(low: number, high: number, file: string): SeSparseKind {
  const kind = high >>> 28;
  if (kind > SeSparseKind.ALLOCATED || (kind === SeSparseKind.UNALLOCATED && (low | high) !== 0)) {
    throw new VmdkError(
      'VMDK_BAD_GRAIN',
      file,
      `grain table entry 0x${hex(low, high)} is of no known kind; the image may be corrupt`,
    );
  }
  return kind as SeSparseKind;
}

/**
 * The index in an entry of a grain table or of the backmap.
 *
 * @throws VmdkError VMDK_BAD_GRAIN from 2^53 on, which is more grains than a file can have
 */
export function seSparseIndex(low: number, high: number, file: string): number {
  const upper = (high & 0xffff) * 0x1_0000_0000 + (low >>> 0);
  if (upper >= EXACT_HIGH_BITS) {
    throw new VmdkError(
      'VMDK_BAD_GRAIN',
      file,
      `entry 0x${hex(low, high)} leads outside the file; the image may be corrupt`,
    );
  }
  return upper * 0x1000 + ((high >>> 16) & 0xfff);
}

/** The entry of a grain table of `kind` with `index`, which is below 2^53. */
export function encodeGrainEntry(kind: SeSparseKind, index: number): EntryWords {
  return shuffle(kind, index);
}

/** The backmap entry of a grain that holds grain `diskGrain` of the disk. */
export function encodeBackMapEntry(diskGrain: number): EntryWords {
  return shuffle(BACKMAP_KIND, diskGrain);
}

function shuffle(kind: number, index: number): EntryWords {
  const upper = Math.floor(index / 0x1000);
  const high = ((kind << 28) | ((index % 0x1000) << 16) | Math.floor(upper / 0x1_0000_0000)) >>> 0;
  return [upper % 0x1_0000_0000, high];
}

/**
 * The number of the grain table that a directory entry names, or undefined where there is none.
 *
 * @throws VmdkError VMDK_BAD_DIRECTORY for anything else
 */
export function decodeDirectoryEntry(low: number, high: number, file: string): number | undefined {
  if ((low | high) === 0) return undefined;
  if (high >>> 0 === DIRECTORY_ENTRY_HIGH) return low >>> 0;
  throw new VmdkError(
    'VMDK_BAD_DIRECTORY',
    file,
    `grain directory entry 0x${hex(low, high)} is of no known kind; the image may be corrupt`,
  );
}

/** The directory entry for grain table `table`. */
export function encodeDirectoryEntry(table: number): EntryWords {
  return [table, DIRECTORY_ENTRY_HIGH];
}

function hex(low: number, high: number): string {
  return [high, low].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}
