/**
 * An extent: one piece of a disk with its own file, or none. Offsets are bytes from the start of
 * the extent and lie inside it; the layer has checked access. Same threads and errors as
 * `BlockDevice`.
 */
export interface Extent {
  /** Where the extent begins on the disk, and its length; bytes. */
  readonly start: number;
  readonly size: number;

  read(target: Uint8Array, targetOffset: number, length: number, offset: number): void;
  write(source: Uint8Array, sourceOffset: number, length: number, offset: number): void;
  zero(offset: number, length: number): void;
  flush(): void;
  nextData(offset: number): number;
  nextHole(offset: number): number;
  allocatedBytes(): number;

  /** Writes what says that the extent was closed cleanly; after the last flush, one thread. */
  finish(): void;
  close(): void;
}
