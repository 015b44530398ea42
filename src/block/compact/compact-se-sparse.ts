/**
 * Compacting a seSparse extent. Its file has a place for every grain of the disk, in the order in
 * which they were first written; what is free of it is known by the bitmap, and becomes a hole.
 *
 *   1. entries of grains of zeros lead nowhere, or are zeroed over a parent; durable
 *   2. the bitmap has only what the tables lead to; durable
 *   3. all other places become holes, and the file ends behind the last grain in use
 *
 * A crash leaves places that only the bitmap knows, which is a leak. Grains do not move: a hole costs
 * nothing, and new grains are taken from the free ones when the end is reached.
 */
import { GTE_UNALLOCATED, GTE_ZEROED, isAllocated } from '../../vmdk/grain-entry.js';
import type { SeSparseHeader } from '../../vmdk/se-sparse-header.js';
import { SeSparseCodec } from '../se-sparse-codec.js';
import type { SparseExtentDescription } from '../sparse-extent.js';
import { placeOf } from '../table-codec.js';
import { isZeroBeneath, isZeroInFile, type ExtentCompaction } from './extent-compaction.js';
import { TableChanges, type EntryChange } from './table-changes.js';

/** Compacts the extent that `description` and `header` describe. */
export function compactSeSparse(
  compaction: ExtentCompaction,
  description: SparseExtentDescription,
  header: SeSparseHeader,
): void {
  const { file } = compaction;
  const codec = new SeSparseCodec(header);
  const tables = new TableChanges(file, codec, description.tables);
  const { grainBytes, grains, tableEntries } = header;
  const inUse = new Uint8Array(Math.ceil(grains.length / grainBytes / 8));
  let changes: EntryChange[] = [];
  let end = grains.offset;
  tables.directory.forEach((_, table) => {
    compaction.progress(table / tables.directory.length);
    const words = tables.read(table);
    words?.forEach((word, index) => {
      const grain = table * tableEntries + index;
      if (!isAllocated(word) || grain >= description.bounds.grainCount) return;
      const place = placeOf(codec.grains, word);
      const offset = grain * grainBytes;
      const length = Math.min(grainBytes, description.size - offset);
      if (length <= 0 || isZeroInFile(file, place, length)) {
        const isNothing = length <= 0 || isZeroBeneath(compaction, offset, length);
        changes.push({ grain, entry: isNothing ? GTE_UNALLOCATED : GTE_ZEROED });
        return;
      }
      const slot = (place - grains.offset) / grainBytes;
      inUse[slot >> 3] = (inUse[slot >> 3] ?? 0) | (1 << (slot & 7));
      end = Math.max(end, place + grainBytes);
    });
    tables.apply(changes);
    changes = [];
  });
  writeBitmap(compaction, header, inUse);
  punchFree(compaction, header, inUse, end);
  if (file.length() > end) file.setLength(end);
  file.sync();
}

/** Bytes of the bitmap that are written together. */
const BITMAP_BYTES = 4096;

function writeBitmap(
  { file }: ExtentCompaction,
  { freeBitmap }: SeSparseHeader,
  inUse: Uint8Array,
): void {
  const found = new Uint8Array(BITMAP_BYTES);
  for (let at = 0; at < inUse.length; at += BITMAP_BYTES) {
    const wanted = inUse.subarray(at, at + BITMAP_BYTES);
    file.read(found, 0, wanted.length, freeBitmap.offset + at);
    if (Buffer.compare(found.subarray(0, wanted.length), wanted) === 0) continue;
    file.write(wanted, 0, wanted.length, freeBitmap.offset + at);
  }
  file.sync();
}

function punchFree(
  { file }: ExtentCompaction,
  { grainBytes, grains }: SeSparseHeader,
  inUse: Uint8Array,
  end: number,
): void {
  const count = (end - grains.offset) / grainBytes;
  const isUsed = (slot: number): boolean => ((inUse[slot >> 3] ?? 0) & (1 << (slot & 7))) !== 0;
  for (let slot = 0; slot < count;) {
    let next = slot + 1;
    while (next < count && isUsed(next) === isUsed(slot)) next += 1;
    const from = grains.offset + slot * grainBytes;
    const to = grains.offset + next * grainBytes;
    if (!isUsed(slot) && file.nextData(from, to) < to) file.punch(from, to - from);
    slot = next;
  }
}
