/**
 * Changing entries of grain tables so that a power cut at any moment leaves a sound image: what the
 * entries led to before and what they lead to now is the same to a reader.
 *
 * The copies of a table may differ after a crash by an entry that leads nowhere, never by two that
 * lead to different grains. So the redundant entries lead nowhere before the primary ones change,
 * and follow when those are durable.
 */
import { GTE_UNALLOCATED } from '../../vmdk/grain-entry.js';
import type { GrainTablesDescription } from '../grain-tables.js';
import { TABLE_DAMAGED } from '../grain-tables.js';
import type { HostFile } from '../host-file.js';
import { placeOf, type TableCodec } from '../table-codec.js';

/** An entry that is to change. */
export interface EntryChange {
  /** Number of the grain in the extent. */
  readonly grain: number;
  readonly entry: number;
}

export class TableChanges {
  readonly #file: HostFile;
  readonly #codec: TableCodec;
  readonly #tableEntries: number;
  readonly #directories: readonly Uint32Array[];

  constructor(file: HostFile, codec: TableCodec, tables: GrainTablesDescription) {
    this.#file = file;
    this.#codec = codec;
    this.#tableEntries = tables.tableEntries;
    this.#directories = tables.directories.map((shared) => new Uint32Array(shared));
  }

  /** Entries of a directory; those of tables that cannot be followed are at most TABLE_DAMAGED. */
  get directory(): Uint32Array {
    return this.#directories[0] ?? new Uint32Array(0);
  }

  /** The entries of a table. */
  read(table: number, directory = this.directory): Uint32Array | undefined {
    const entry = directory[table] ?? 0;
    if (entry <= TABLE_DAMAGED) return undefined;
    const words = new Uint32Array(this.#tableEntries);
    this.#codec.read(this.#file, words, placeOf(this.#codec.tables, entry));
    return words;
  }

  /** Makes `changes`; they are durable when it returns, and so is everything written before. */
  apply(changes: readonly EntryChange[]): void {
    const [primary, redundant] = this.#directories;
    if (primary === undefined || changes.length === 0) return;
    if (redundant !== undefined) {
      this.#write(
        redundant,
        changes.map(({ grain }) => ({ grain, entry: GTE_UNALLOCATED })),
      );
    }
    this.#file.sync();
    this.#write(primary, changes);
    this.#file.sync();
    if (redundant === undefined) return;
    this.#write(redundant, changes);
    this.#file.sync();
  }

  #write(directory: Uint32Array, changes: readonly EntryChange[]): void {
    const tables = new Map<number, EntryChange[]>();
    for (const change of changes) {
      const table = Math.floor(change.grain / this.#tableEntries);
      const others = tables.get(table);
      if (others === undefined) tables.set(table, [change]);
      else others.push(change);
    }
    for (const [table, ofTable] of tables) {
      const words = this.read(table, directory);
      if (words === undefined) continue;
      for (const { entry, grain } of ofTable) words[grain % this.#tableEntries] = entry;
      this.#codec.write(this.#file, words, placeOf(this.#codec.tables, directory[table] ?? 0));
    }
  }
}
