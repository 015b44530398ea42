/** How `vmdkfs info` shows the partition table of a disk. */
import { describeError } from '../errno.js';
import type { BlockDevice } from '../block/block-device.js';
import type { Partition } from '../volumes/partition.js';
import { partitionTableOf, type PartitionTable } from '../volumes/partition-table.js';
import { formatSize } from './size.js';

/** The JSON shape; start and size in bytes. */
interface PartitionInfo {
  readonly number: number;
  readonly start: number;
  readonly size: number;
  /** A type byte as `0x83`, or a type GUID. */
  readonly type: string;
  readonly typeName: string;
  /** The label in a GPT; null where there is none. */
  readonly label: string | null;
  readonly bootable: boolean;
  /** Its name in a mount; null for an extended partition, which is no file. */
  readonly file: string | null;
}

export interface PartitionsInfo {
  readonly partitionTable: 'dos' | 'gpt' | null;
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
  const { bootable, isContainer, label, number, size, start, type, typeName } = partition;
  return {
    number,
    start,
    size,
    type,
    typeName,
    label: label === '' ? null : label,
    bootable,
    file: isContainer ? null : `p${number}.raw`,
  };
}

/** Lines for people, with what mounts each partition. */
export function formatPartitions({ partitionTable, partitions }: PartitionsInfo): string[] {
  if (partitionTable === null) return [];
  const table = partitionTable === 'gpt' ? 'GPT' : 'DOS';
  if (partitions.length === 0) return [`partitions: none in its ${table} table`];
  return [
    `partitions: ${table}, MNT being where the image is mounted`,
    ...partitions.flatMap(format),
  ];
}

function format(partition: PartitionInfo): string[] {
  const { bootable, file, label, number, size, start, type, typeName } = partition;
  const facts = [
    `${typeName}${typeName === 'unknown' ? ` (${type})` : ''}`,
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
