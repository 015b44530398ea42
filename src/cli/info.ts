/** `vmdkfs info IMAGE [--json]`. */
import type { Command } from 'commander';
import { printable } from '../errno.js';
import {
  listDisks,
  openImage,
  type LayerFacts,
  type OpenedImage,
  type OpenOptions,
} from '../block/open-image.js';
import { formatCid } from '../vmdk/cid.js';
import { formatSize } from './size.js';
import { describePartitions, formatPartitions, type PartitionsInfo } from './partitions.js';
import { addOpenOptions, openOptions, type OpenFlags } from './open-options.js';
import { complain, print } from './output.js';

interface InfoFlags extends OpenFlags {
  readonly json?: true;
}

/** Adds the command to the program. */
export function addInfoCommand(program: Command): void {
  const command = program
    .command('info')
    .summary('show what an image is made of')
    .description(
      'Show size, subformat, extents and parents of an image, its partitions with the commands that mount them, who has it in use, and the disks in an OVA. The image is only read.',
    )
    .argument('<image>', 'the VMDK file, the descriptor of a split disk, or an OVA')
    .option('--json', 'print JSON')
    .action(info);
  addOpenOptions(command);
}

function info(path: string, flags: InfoFlags): void {
  const disks = listDisks(path) ?? [];
  const options = openOptions(flags, true);
  const isList = disks.length > 1 && flags.disk === undefined;
  const infos = isList
    ? disks.map((disk) => describeDisk(path, { ...options, disk }))
    : [describeDisk(path, options)];
  if (flags.json === true) {
    const result = isList ? { image: path, disks: infos } : infos[0];
    print(JSON.stringify(result, undefined, 2));
  } else {
    print(...format(path, infos).map(printable));
  }
}

function describeDisk(path: string, options: OpenOptions): ImageInfo {
  const image = openImage(path, options);
  try {
    const notices = [...image.notices];
    const info = describe(path, image.disk ?? null, image, notices);
    complain(...notices.map((notice) => `vmdkfs: ${printable(notice)}`));
    return info;
  } finally {
    image.device.close();
  }
}

/** The JSON shape; sizes in bytes. */
interface ImageInfo extends PartitionsInfo {
  readonly image: string;
  /** The name of the disk in the archive that the image is; null for any other image. */
  readonly disk: string | null;
  readonly size: number;
  readonly allocated: number;
  /** The image first, its base last. */
  readonly chain: readonly LayerInfo[];
}

interface LayerInfo {
  readonly file: string;
  readonly createType: string;
  readonly cid: string | null;
  readonly parentCid: string | null;
  readonly size: number;
  readonly uncleanShutdown: boolean;
  /** How another program (a mount, or QEMU) has it open. */
  readonly inUseBy: 'reader' | 'writer' | null;
  /** The path of the mark that VMware has left for it. */
  readonly vmwareMark: string | null;
  readonly extents: readonly ExtentInfo[];
}

interface ExtentInfo {
  readonly access: string;
  readonly type: string;
  readonly size: number;
  readonly file: string | null;
  readonly fileOffset: number;
  /** Bytes the file takes up on the host. */
  readonly fileAllocated: number;
}

function describe(
  path: string,
  disk: string | null,
  image: OpenedImage,
  notices: string[],
): ImageInfo {
  return {
    image: path,
    disk,
    size: image.device.size,
    allocated: image.device.allocatedBytes(),
    ...describePartitions(image.device, notices),
    chain: image.chain.map(describeLayer),
  };
}

function describeLayer(layer: LayerFacts): LayerInfo {
  const { cid, createType, parentCid } = layer.descriptor;
  return {
    file: layer.path,
    createType,
    cid: cid === undefined ? null : formatCid(cid),
    parentCid: parentCid === undefined ? null : formatCid(parentCid),
    size: layer.size,
    uncleanShutdown: layer.isUnclean,
    inUseBy: layer.use.by ?? null,
    vmwareMark: layer.use.vmwareMark ?? null,
    extents: layer.extents.map(({ allocated, line, path }) => ({
      access: line.access,
      type: line.type,
      size: line.size,
      file: path ?? null,
      fileOffset: line.fileOffset,
      fileAllocated: allocated,
    })),
  };
}

function format(path: string, infos: readonly ImageInfo[]): string[] {
  const lines = infos.flatMap((each, index) => ['', ...formatDisk(each, index + 1, infos.length)]);
  return [`image:      ${path}`, ...(infos.length === 1 ? lines.slice(1) : lines)];
}

function formatDisk(info: ImageInfo, number: number, count: number): string[] {
  const [first, ...parents] = info.chain;
  const disk = count === 1 ? info.disk : `${number} ${info.disk ?? ''}`;
  return [
    ...(disk === null ? [] : [`disk:       ${disk}`]),
    `subformat:  ${first?.createType ?? ''}`,
    `size:       ${formatSize(info.size)}`,
    `allocated:  ${formatSize(info.allocated)}`,
    ...(first === undefined ? [] : formatLayer(first)),
    ...formatPartitions(info),
    ...parents.flatMap((parent) => ['', `parent:     ${parent.file}`, ...formatLayer(parent)]),
  ];
}

const USES = {
  reader: 'another program (a mount, or QEMU) reads it',
  writer: 'another program (a mount, or QEMU) has it open for writing',
} as const;

function formatLayer(layer: LayerInfo): string[] {
  const parent = layer.parentCid === null ? '' : `, parent CID ${layer.parentCid}`;
  return [
    `CID:        ${layer.cid ?? 'none'}${parent}`,
    ...(layer.uncleanShutdown ? ['state:      was not closed cleanly'] : []),
    ...(layer.inUseBy === null ? [] : [`in use:     ${USES[layer.inUseBy]}`]),
    ...(layer.vmwareMark === null ? [] : [`in use:     marked by VMware (${layer.vmwareMark})`]),
    ...layer.extents.map((extent) => {
      const file = extent.file === null ? '' : ` ${extent.file}`;
      const offset = extent.fileOffset === 0 ? '' : ` at byte ${extent.fileOffset}`;
      return `extent:     ${extent.access} ${extent.type} ${formatSize(extent.size)}${file}${offset}`;
    }),
  ];
}
