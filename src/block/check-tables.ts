/**
 * One pass over all tables of an extent when it is opened, so that a truncated or corrupt image is
 * refused then and not in the middle of a copy.
 */
import { GTE_UNALLOCATED } from '../vmdk/grain-entry.js';
import { ENTRY_BYTES, grainCount, type Geometry } from '../vmdk/layout.js';
import type { Directories } from './directories.js';
import { GrainBounds, type GrainBoundsDescription } from './grain-bounds.js';
import { TABLE_DAMAGED } from './grain-tables.js';
import { HostFile } from './host-file.js';
import { lengthNow, type OpenedFile } from './opened-files.js';
import { newTableCodec, placeOf, SECTOR_SCALE, type TableCodecDescription } from './table-codec.js';
import { TableCopies, type CopiesUse } from './table-copies.js';

/** Bytes of tables, as they are in memory, that are read at a time. */
const CHECK_BYTES = 1024 * 1024;

/** The tables of an extent, as its directories lead to them. */
export interface TablesFound {
  readonly codec: TableCodecDescription;
  readonly tableEntries: number;
  /** The primary directory, then the redundant one where there is one, as they are in memory. */
  readonly directories: readonly Uint32Array[];
  readonly bounds: GrainBoundsDescription;
}

/**
 * The tables of an extent whose entries are sectors, as its directories lead to them.
 *
 * @param footprint bytes of the file that a grain takes at least
 */
export function sectorTables(
  path: string,
  geometry: Geometry,
  directories: Directories,
  footprint: number,
): TablesFound {
  const { grainBytes, tableEntries } = geometry;
  return {
    codec: { kind: 'sectors', tableEntries },
    tableEntries,
    directories: directories.entries,
    bounds: {
      path,
      grainBytes,
      footprint,
      places: SECTOR_SCALE,
      grainCount: grainCount(geometry),
      metadata: directories.metadata,
    },
  };
}

/** What the pass over all tables found. */
export interface TablesChecked {
  /** Grains in use. */
  readonly allocated: number;
  /** Where the last of them in the file ends; 0 without one. */
  readonly grainsEnd: number;
  /** One byte a table: 1 where it leads nowhere. */
  readonly unused: SharedArrayBuffer;
  /** Entries that are read from the redundant table because the primary one leads nowhere. */
  readonly taken: number;
  /** The first table whose copies differ in more than an unclean end explains, or -1. */
  readonly differing: number;
}

/**
 * Reads every table once, neighbours in one read, and those that are holes not at all.
 *
 * @param use what to do with the redundant tables; they are not read unless told
 * @throws VmdkError for an entry that cannot be right
 */
export function checkTables(file: OpenedFile, found: TablesFound, use?: CopiesUse): TablesChecked {
  const { tableEntries } = found;
  const bounds = new GrainBounds(
    found.bounds,
    () => file.length,
    () => lengthNow(file),
  );
  const codec = newTableCodec(found.codec);
  const source = new HostFile(file);
  const [primary, redundant] = found.directories;
  const count = primary?.length ?? 0;
  const fitting = Math.floor(CHECK_BYTES / (tableEntries * ENTRY_BYTES));
  const runMax = Math.max(1, Math.min(count, fitting));
  const buffer = new Uint32Array(runMax * tableEntries);
  const entryOf = (table: number): number => {
    const entry = primary?.[table] ?? 0;
    return entry > TABLE_DAMAGED ? entry : (redundant?.[table] ?? 0);
  };
  const unused = new Uint8Array(new SharedArrayBuffer(count)).fill(1);
  let allocated = 0;
  let grainsEnd = 0;
  const copies = new TableCopies(found, use, { source, codec, bounds });
  for (let table = 0; table < count;) {
    const entry = entryOf(table);
    if (entry <= TABLE_DAMAGED) {
      table += 1;
      continue;
    }
    let run = 1;
    while (run < runMax && entryOf(table + run) === entry + run * codec.tableStep) run += 1;
    const position = placeOf(codec.tables, entry);
    const end = position + run * codec.tableStep * codec.tables.unit;
    if (source.nextData(position, end) >= end && copies.areHoles(table, run)) {
      // A hole of the host: a new image's tables, or a hostile image's that has millions of them.
      table += run;
      continue;
    }
    codec.read(source, buffer.subarray(0, run * tableEntries), position);
    for (let index = 0; index < run; index++, table++) {
      const words = buffer.subarray(index * tableEntries, (index + 1) * tableEntries);
      copies.compare(words, table, entryOf(table));
      const checked = bounds.check(words, table * tableEntries);
      if (words.some((word) => word !== GTE_UNALLOCATED)) unused[table] = 0;
      allocated += checked.allocated;
      grainsEnd = Math.max(grainsEnd, checked.end);
    }
  }
  return {
    allocated,
    grainsEnd,
    unused: unused.buffer,
    taken: copies.taken,
    differing: copies.differing,
  };
}
