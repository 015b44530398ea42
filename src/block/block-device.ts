/**
 * The contract of the engine: a disk of a fixed number of bytes. Everything above it knows nothing
 * of VMDK. All calls are synchronous and may come from any thread that attached the image; ranges
 * lie inside `[0, size)`, which the caller has checked. Failures are thrown: Node's own errors for
 * the system, `VmdkError` for the image; `toErrno` maps both.
 */
export interface BlockDevice {
  /** Size in bytes. */
  readonly size: number;
  /** Whether `write` and `zero` always fail with EROFS. */
  readonly readOnly: boolean;

  /** Fills `length` bytes of `target` from `targetOffset` on with the disk's bytes at `offset`. */
  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void;

  /** Writes `length` bytes of `source` from `sourceOffset` on to the disk at `offset`. */
  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void;

  /**
   * Makes `length` bytes at `offset` read as zeros, and gives their space back to the host where
   * that is possible.
   */
  zero(offset: number, length: number): void;

  /** Makes durable what was written before the call. */
  flush(): void;

  /**
   * The first offset in `[offset, limit)` that may hold data, or `limit`, which is at most `size`.
   * It looks no further than that: a question about one grain must not search a whole parent.
   */
  nextData(offset: number, limit: number): number;

  /** The first offset in `[offset, limit)` that is known to be a hole, or `limit`. */
  nextHole(offset: number, limit: number): number;

  /** Bytes that take up space in the image and its parents; at most `size`. */
  allocatedBytes(): number;

  /** Flushes, marks the image as cleanly closed and closes its files; once, by one thread. */
  close(): void;
}
