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
import { describeContent, openingCommands } from './volume-commands.js';
import { VolumeContents, type Content } from './volume-contents.js';

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
  /** What is in it; null where it is nothing known, undefined where that cannot be told. */
  readonly content: Content | null | undefined;
}

export interface PartitionsInfo {
  readonly partitionTable: TableKind | null;
  readonly partitions: readonly PartitionInfo[];
  /** What is on a disk that has no partition table, as `content` of a partition. */
  readonly content: Content | null | undefined;
}

/**
 * The partitions of a disk, and what is in them.
 *
 * @param notices gets what is odd about its table, also that it cannot be read
 */
export function describePartitions(device: BlockDevice, notices: string[]): PartitionsInfo {
  let table: PartitionTable;
  try {
    table = partitionTableOf(device);
  } catch (error) {
    notices.push(`the partition table cannot be read: ${describeError(error)}`);
    return { partitionTable: null, partitions: [], content: undefined };
  }
  notices.push(...table.notices.map((notice) => `partition table: ${notice}`));
  const contents = new VolumeContents(device);
  try {
    const { kind, partitions } = table;
    const whole = { start: 0, size: device.size };
    return {
      partitionTable: kind ?? null,
      partitions: partitions.map((partition) => infoOf(partition, contents, notices)),
      content: kind === undefined ? contents.find(whole, 'the disk', notices) : undefined,
    };
  } finally {
    contents.close();
  }
}

function infoOf(partition: Partition, contents: VolumeContents, notices: string[]): PartitionInfo {
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
    content: isContainer ? undefined : contents.find(partition, `partition ${number}`, notices),
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
export function formatPartitions(info: PartitionsInfo): string[] {
  const { content, partitionTable, partitions } = info;
  const where = 'MNT being where the image is mounted';
  if (partitionTable === null) {
    if (content === undefined || content === null) return [];
    const commands = openingCommands(content, '', { file: 'disk.raw', range: undefined });
    const what = `partitions: none, the disk ${describeContent(content).join('')}`;
    return [commands.length === 0 ? what : `${what}, ${where}`, ...indented(commands)];
  }
  const table = TABLES[partitionTable];
  if (partitions.length === 0) return [`partitions: none in its ${table} table`];
  return [`partitions: ${table}, ${where}`, ...partitions.flatMap(format)];
}

function format(partition: PartitionInfo): string[] {
  const { bootable, content, file, label, letter, number, parent, size, start, type, typeName } =
    partition;
  const facts = [
    `${typeName}${typeName === 'unknown' ? ` (${type})` : ''}`,
    ...(letter === null ? [] : [parent === null ? letter : `${letter} of partition ${parent}`]),
    ...(label === null ? [] : [JSON.stringify(label)]),
    `${formatSize(size)} at byte ${start}`,
    ...(bootable ? ['bootable'] : []),
    ...describeContent(content),
  ];
  const volume = { file: file ?? '', range: { start, size } };
  return [
    `${String(number).padStart(5)}:  ${facts.join(', ')}`,
    ...(file === null ? [] : indented(openingCommands(content, typeName, volume))),
  ];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `${' '.repeat(8)}${line}`);
}
