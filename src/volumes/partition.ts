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
  /** The type byte as `0x83`, the type GUID in capitals, or the name of an Apple type. */
  readonly type: string;
  readonly typeName: string;
  /** What its own system calls it: `a` in a BSD label, `s0` in Solaris'; '' where it has no name. */
  readonly letter: string;
  /** The number of the partition whose own table it is in; undefined where that is the disk's. */
  readonly parent: number | undefined;
  /** The label that a GPT or an Apple map gives it; '' where it has none. */
  readonly label: string;
  readonly bootable: boolean;
  /** Whether it is an extended partition, which holds others and no data of its own. */
  readonly isContainer: boolean;
}

/** A partition of its table, `number` to `size` of it, with nothing special about it. */
export function plainPartition(
  partition: Pick<Partition, 'number' | 'size' | 'start' | 'type' | 'typeName'>,
): Partition {
  return {
    ...partition,
    letter: '',
    parent: undefined,
    label: '',
    bootable: false,
    isContainer: false,
  };
}
