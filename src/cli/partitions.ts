/** How `vmdkfs info` shows the partition table of a disk. */
import { describeError } from '../errno.js';
import type { BlockDevice } from '../block/block-device.js';
import type { Partition } from '../volumes/partition.js';
import {
  partitionTableOf,
  type PartitionTable,
  type TableKind,
} from '../volumes/partition-table.js';
import { formatSize } from './size.js';

/** The JSON shape; start and size in bytes. */
interface PartitionInfo {
  readonly number: number;
  readonly start: number;
  readonly size: number;
  /** A type byte as `0x83`, or a type GUID. */
  readonly type: string;
  readonly typeName: string;
  /** What its own system calls it, `a` in a BSD label; null where it has no such name. */
  readonly letter: string | null;
  /** The number of the partition whose own table it is in; null where that is the disk's. */
  readonly parent: number | null;
  /** The label in a GPT or an Apple map; null where there is none. */
  readonly label: string | null;
  readonly bootable: boolean;
  /** Its name in a mount; null for an extended partition, which is no file. */
  readonly file: string | null;
}

export interface PartitionsInfo {
  readonly partitionTable: TableKind | null;
  readonly partitions: readonly PartitionInfo[];
}

/**
 * The partitions of a disk.
 *
 * @param notices gets what is odd about its table, also that it cannot be read
 */
export function describePartitions(device: BlockDevice, notices: string[]): PartitionsInfo {
  let table: PartitionTable;
  try {
    table = partitionTableOf(device);
  } catch (error) {
    notices.push(`the partition table cannot be read: ${describeError(error)}`);
    return { partitionTable: null, partitions: [] };
  }
  notices.push(...table.notices.map((notice) => `partition table: ${notice}`));
  return { partitionTable: table.kind ?? null, partitions: table.partitions.map(infoOf) };
}

function infoOf(partition: Partition): PartitionInfo {
  const { bootable, isContainer, label, letter, number, parent, size, start, type, typeName } =
    partition;
  return {
    number,
    letter: letter === '' ? null : letter,
    parent: parent ?? null,
    start,
    size,
    type,
    typeName,
    label: label === '' ? null : label,
    bootable,
    file: isContainer ? null : `p${number}.raw`,
  };
}

/** Names of tables for people. */
const TABLES: Readonly<Record<TableKind, string>> = {
  dos: 'DOS',
  gpt: 'GPT',
  sun: 'Sun',
  mac: 'Apple',
  bsd: 'BSD',
};

/** Lines for people, with what mounts each partition. */
export function formatPartitions({ partitionTable, partitions }: PartitionsInfo): string[] {
  if (partitionTable === null) return [];
  const table = TABLES[partitionTable];
  if (partitions.length === 0) return [`partitions: none in its ${table} table`];
  return [
    `partitions: ${table}, MNT being where the image is mounted`,
    ...partitions.flatMap(format),
  ];
}

function format(partition: PartitionInfo): string[] {
  const { bootable, file, label, letter, number, parent, size, start, type, typeName } = partition;
  const facts = [
    `${typeName}${typeName === 'unknown' ? ` (${type})` : ''}`,
    ...(letter === null ? [] : [parent === null ? letter : `${letter} of partition ${parent}`]),
    ...(label === null ? [] : [JSON.stringify(label)]),
    `${formatSize(size)} at byte ${start}`,
    ...(bootable ? ['bootable'] : []),
  ];
  const indent = ' '.repeat(8);
  const commands = [
    `${indent}mount -o loop MNT/${file ?? ''} DIR`,
    `${indent}mount -o loop,offset=${start},sizelimit=${size} MNT/disk.raw DIR`,
  ];
  return [
    `${String(number).padStart(5)}:  ${facts.join(', ')}`,
    ...(file === null ? [] : commands),
  ];
}
