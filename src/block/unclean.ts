/**
 * The quick check of a hosted or COWD extent that was not closed, before it is written again: the
 * two copies of every table against each other, and every grain against the others.
 *
 * After a crash in the order in which tables are written, a copy may lag behind: an entry leads
 * nowhere in one and to a grain in the other. The primary table is what everybody reads, so it
 * counts, and the copy is made equal to it. Two entries that lead to different grains, or two grains
 * in one place, did not come from there; writing would make it worse.
 */
import { isAllocated } from '../vmdk/grain-entry.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { TablesFound } from './check-tables.js';
import { TABLE_DAMAGED } from './grain-tables.js';
import { HostFile } from './host-file.js';
import type { OpenedFile } from './opened-files.js';
import type { HeaderWrite } from './sparse-extent.js';
import { newTableCodec, placeOf, type TableCodec } from './table-codec.js';

/**
 * Checks the extent whose tables are `found`, of which `allocated` entries lead to grains.
 *
 * @returns what to write so that the copies are equal: whole redundant tables
 * @throws VmdkError VMDK_BAD_TABLE, VMDK_BAD_GRAIN
 */
export function checkUnclean(
  file: OpenedFile,
  found: TablesFound,
  allocated: number,
): HeaderWrite[] {
  const [primary = new Uint32Array(0), redundant] = found.directories;
  const codec = newTableCodec(found.codec);
  const grains = new Uint32Array(allocated);
  const late: HeaderWrite[] = [];
  let count = 0;
  primary.forEach((first, table) => {
    const copy = redundant?.[table] ?? 0;
    // A table that only one directory leads to is used like any other.
    const entry = first > TABLE_DAMAGED ? first : copy;
    if (entry <= TABLE_DAMAGED) return;
    const words = readTable(file, codec, found.tableEntries, entry);
    const inUse = words.filter(isAllocated);
    // There are more where another program is not kept from writing.
    grains.set(inUse.subarray(0, Math.max(0, allocated - count)), Math.min(count, allocated));
    count += inUse.length;
    if (copy <= TABLE_DAMAGED || copy === entry) return;
    const other = readTable(file, codec, found.tableEntries, copy);
    if (isEqual(file, words, other, table * found.tableEntries)) return;
    late.push({ position: placeOf(codec.tables, copy), bytes: new Uint8Array(words.buffer) });
  });
  assertApart(file, found, grains.subarray(0, Math.min(count, allocated)));
  return late;
}

function readTable(
  file: OpenedFile,
  codec: TableCodec,
  entries: number,
  place: number,
): Uint32Array {
  const words = new Uint32Array(entries);
  codec.read(new HostFile(file), words, placeOf(codec.tables, place));
  return words;
}

/** Whether two copies of a table are equal; they may differ by an entry that leads nowhere. */
function isEqual(
  file: OpenedFile,
  words: Uint32Array,
  copy: Uint32Array,
  firstGrain: number,
): boolean {
  let isSame = true;
  for (let index = 0; index < words.length; index++) {
    const [one = 0, other = 0] = [words[index], copy[index]];
    if (one === other) continue;
    isSame = false;
    if (!isAllocated(one) || !isAllocated(other)) continue;
    throw new VmdkError(
      'VMDK_BAD_TABLE',
      file.path,
      `was not closed cleanly, and grain ${firstGrain + index} is in sector ${one} by its grain table, in sector ${other} by the copy of it; run vmdkfs check, or mount with -o ro`,
    );
  }
  return isSame;
}

/** @throws VmdkError where two grains lie over each other */
function assertApart(file: OpenedFile, found: TablesFound, grains: Uint32Array): void {
  const { grainBytes, places } = found.bounds;
  const step = grainBytes / places.unit;
  grains.sort();
  const index = grains.findIndex((entry, at) => at > 0 && entry - (grains[at - 1] ?? 0) < step);
  if (index < 0) return;
  throw new VmdkError(
    'VMDK_BAD_GRAIN',
    file.path,
    `was not closed cleanly, and two grains share the bytes at ${placeOf(places, grains[index] ?? 0)}; run vmdkfs check, or mount with -o ro`,
  );
}
