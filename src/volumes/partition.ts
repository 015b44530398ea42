/** A partition, whatever kind of table it is in. */

/** Most partitions of one disk that are told; Linux has names for no more on a DOS table's disk. */
export const PARTITIONS_MAX = 128;

/** Returns `length` bytes of the disk at `offset`; both are inside it. */
export type ReadDisk = (offset: number, length: number) => Uint8Array;

/** Bytes from `start` to before `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface Partition {
  /** As in the names of Linux: `sda5` is 5. */
  readonly number: number;
  /** First byte. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  /** The type byte as `0x83`, or the type GUID in capitals. */
  readonly type: string;
  readonly typeName: string;
  /** The label that a GPT gives it; '' where it has none. */
  readonly label: string;
  readonly bootable: boolean;
  /** Whether it is an extended partition, which holds others and no data of its own. */
  readonly isContainer: boolean;
}
