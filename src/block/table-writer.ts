/**
 * Brings the tables of a sparse extent to disk, in the order that makes every crash harmless:
 *
 *   1. copy the changed tables (mutex held; whatever is in them has its data written)
 *   2. write what the file says of its allocated space; barrier: that and the data are durable
 *   3. write the copies, primary and redundant
 *   4. barrier: the tables are durable
 *   5. only when tables were made: write the directory entries that lead to them, barrier
 *
 * So an entry on disk leads only to a grain that was completely written, a directory entry only to
 * a table that was. The live table is never written: it may already name grains whose data came
 * after the barrier. The layer's flush mutex is held throughout.
 */
import createDebug from 'debug';
import { TABLE_DAMAGED } from './grain-tables.js';
import type { SparseParts } from './sparse-parts.js';
import { placeOf } from './table-codec.js';

/**
 * Tables copied at a time, 512 of the usual 2 KiB; one buffer for each thread, whose pages are there
 * from the start: a flush must not wait for memory that only a flush can free.
 */
const SNAPSHOT = new Uint8Array(1024 * 1024).fill(0);
const SNAPSHOT_WORDS = new Uint32Array(SNAPSHOT.buffer);

const debug = createDebug('vmdkfs:block');

interface DirectoryChange {
  readonly first: number;
  readonly end: number;
  readonly copies: readonly Uint32Array[];
}

export class TableWriter {
  readonly #parts: SparseParts;
  readonly #directoryOffsets: readonly number[];

  /** @param directoryOffsets where the directories lie in the file, bytes; as in the tables */
  constructor(parts: SparseParts, directoryOffsets: readonly number[]) {
    this.#parts = parts;
    this.#directoryOffsets = directoryOffsets;
  }

  /** @throws the system's error; tables that did not reach the disk stay changed */
  flush(): void {
    const { file, flags, state } = this.#parts;
    const change = this.#takeDirectoryChange();
    let isComplete = false;
    try {
      if (this.#flushTables()) state.barrier(file);
      if (change !== undefined) {
        this.#writeDirectories(change);
        debug('%s: entries %d to %d of directories', file.path, change.first, change.end - 1);
        state.barrier(file);
      }
      isComplete = true;
    } finally {
      if (!isComplete) {
        flags.markTables();
        if (change !== undefined) this.#putBack(change);
      }
    }
  }

  /**
   * Steps 1 to 3, upwards from the first table, so that writers who change tables meanwhile cannot
   * keep it going: what they change behind it is for the next flush.
   *
   * @returns whether any table was written
   */
  #flushTables(): boolean {
    const { file, flags, record, state, tables } = this.#parts;
    const capacity = Math.floor(SNAPSHOT.length / tables.tableBytes);
    const hasChanges = flags.takeTables();
    for (let from = 0; ;) {
      const changed = hasChanges ? this.#copyTables(from) : [];
      let succeeded = false;
      try {
        if (record.write()) flags.markData();
        if (flags.takeData()) state.barrier(file);
        for (const directory of tables.directories) this.#writeCopies(changed, directory);
        succeeded = true;
        if (changed.length > 0) debug('%s: tables written: %d', file.path, changed.length);
      } finally {
        state.mutex.lock();
        tables.written(changed, succeeded);
        state.mutex.unlock();
      }
      if (changed.length < capacity) return from > 0 || changed.length > 0;
      from = (changed.at(-1) ?? 0) + 1;
    }
  }

  #copyTables(from: number): number[] {
    const { state, tables } = this.#parts;
    state.mutex.lock();
    try {
      return tables.snapshot(SNAPSHOT, from);
    } finally {
      state.mutex.unlock();
    }
  }

  /** Writes the snapshot's tables to the places `directory` has for them, neighbours in one write. */
  #writeCopies(changed: readonly number[], directory: Uint32Array): void {
    const { codec, file, tables } = this.#parts;
    const entryOf = (index: number): number => directory[changed[index] ?? -1] ?? TABLE_DAMAGED;
    for (let index = 0; index < changed.length;) {
      const entry = entryOf(index);
      let count = 1;
      while (
        entry > TABLE_DAMAGED &&
        index + count < changed.length &&
        entryOf(index + count) === entry + count * codec.tableStep
      ) {
        count += 1;
      }
      if (entry > TABLE_DAMAGED) {
        const first = index * tables.tableEntries;
        const words = SNAPSHOT_WORDS.subarray(first, first + count * tables.tableEntries);
        codec.write(file, words, placeOf(codec.tables, entry));
      }
      index += count;
    }
  }

  #takeDirectoryChange(): DirectoryChange | undefined {
    const { allocator, state, tables } = this.#parts;
    state.mutex.lock();
    try {
      const range = allocator.takeChanged();
      if (range === undefined) return undefined;
      const copies = tables.directories.map((directory) => directory.slice(range.first, range.end));
      return { ...range, copies };
    } finally {
      state.mutex.unlock();
    }
  }

  #putBack(change: DirectoryChange): void {
    const { allocator, state } = this.#parts;
    state.mutex.lock();
    allocator.putBackChanged(change);
    state.mutex.unlock();
  }

  #writeDirectories(change: DirectoryChange): void {
    const { codec, file } = this.#parts;
    change.copies.forEach((entries, copy) => {
      const position = this.#directoryOffsets[copy] ?? 0;
      for (let index = 0; index < entries.length;) {
        let end = index;
        while (end < entries.length && entries[end] !== TABLE_DAMAGED) end += 1;
        const sound = entries.subarray(index, end);
        if (end > index) codec.writeDirectory(file, sound, position, change.first + index);
        index = end + 1;
      }
    });
  }
}
