/**
 * Brings the tables of a sparse extent to disk, in the order that makes every crash harmless:
 *
 *   1. copy the changed tables (mutex held; whatever is in them has its data written)
 *   2. barrier: that data is durable
 *   3. write the copies, primary and redundant
 *   4. barrier: the tables are durable
 *   5. only when tables were made: write the directory entries that lead to them, barrier
 *
 * So an entry on disk leads only to a grain that was completely written, a directory entry only to
 * a table that was. The live table is never written: it may already name grains whose data came
 * after the barrier. The layer's flush mutex is held throughout.
 */
import { ENTRY_BYTES } from '../vmdk/layout.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { TABLE_DAMAGED } from './grain-tables.js';
import type { SparseParts } from './sparse-parts.js';

/**
 * Tables copied at a time, 512 of the usual 2 KiB; one buffer for each thread, whose pages are there
 * from the start: a flush must not wait for memory that only a flush can free.
 */
const SNAPSHOT = new Uint8Array(1024 * 1024).fill(0);

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
    const { file, flags, state, tables } = this.#parts;
    const capacity = Math.floor(SNAPSHOT.length / tables.tableBytes);
    const hasChanges = flags.takeTables();
    for (let from = 0; ;) {
      const changed = hasChanges ? this.#copyTables(from) : [];
      let succeeded = false;
      try {
        if (flags.takeData()) state.barrier(file);
        for (const directory of tables.directories) this.#writeCopies(changed, directory);
        succeeded = true;
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
    const { file, tables } = this.#parts;
    const tableSectors = tables.tableBytes / SECTOR_BYTES;
    const placeOf = (index: number): number => directory[changed[index] ?? -1] ?? TABLE_DAMAGED;
    for (let index = 0; index < changed.length;) {
      const place = placeOf(index);
      let count = 1;
      while (
        place > TABLE_DAMAGED &&
        index + count < changed.length &&
        placeOf(index + count) === place + count * tableSectors
      ) {
        count += 1;
      }
      if (place > TABLE_DAMAGED) {
        const start = index * tables.tableBytes;
        file.write(SNAPSHOT, start, count * tables.tableBytes, place * SECTOR_BYTES);
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
    change.copies.forEach((entries, copy) => {
      const offset = (this.#directoryOffsets[copy] ?? 0) + change.first * ENTRY_BYTES;
      for (let index = 0; index < entries.length;) {
        let end = index;
        while (end < entries.length && entries[end] !== TABLE_DAMAGED) end += 1;
        if (end > index)
          this.#writeEntries(entries.subarray(index, end), offset + index * ENTRY_BYTES);
        index = end + 1;
      }
    });
  }

  #writeEntries(entries: Uint32Array, position: number): void {
    const bytes = new Uint8Array(entries.buffer, entries.byteOffset, entries.byteLength);
    this.#parts.file.write(bytes, 0, bytes.length, position);
  }
}
