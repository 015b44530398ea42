/** `vmdkfs info IMAGE [--json]`. */
import type { Command } from 'commander';
import {
  listDisks,
  type LayerFacts,
  type OpenedImage,
  type OpenOptions,
} from '../block/open-image.js';
import { lookAtImage } from '../block/unlocked-image.js';
import { formatCid } from '../vmdk/cid.js';
import { formatSize } from './size.js';
import { describePartitions, formatPartitions, type PartitionsInfo } from './partitions.js';
import { addFlatOption, addOpenOptions, openOptions, type OpenFlags } from './open-options.js';
import { addReportOptions, printNotices, printResult, type ReportFlags } from './report.js';

interface InfoFlags extends OpenFlags, ReportFlags {}

/** Adds the command to the program. */
export function addInfoCommand(program: Command): void {
  const command = program
    .command('info')
    .summary('show what an image is made of')
    .description(
      'Show size, subformat, extents and parents of an image, its partitions, what blkid finds in them and the commands that open it, who has it in use, and the disks in an OVA. The image is only read.',
    )
    .argument('<image>', 'the VMDK file, the descriptor of a split disk, or an OVA')
    .action(info);
  addReportOptions(command);
  addOpenOptions(command);
  addFlatOption(command);
}

function info(path: string, flags: InfoFlags): void {
  const disks = flags.flat === true ? [] : (listDisks(path) ?? []);
  const options = openOptions(flags, true);
  const isList = disks.length > 1 && flags.disk === undefined;
  const infos = isList
    ? disks.map((disk) => describeDisk(path, { ...options, disk }, flags))
    : [describeDisk(path, options, flags)];
  const json = isList ? { image: path, disks: infos } : infos[0];
  printResult(flags, json, format(path, infos));
}

function describeDisk(path: string, options: OpenOptions, flags: InfoFlags): ImageInfo {
  return lookAtImage(
    path,
    options,
    (image) => {
      const notices = [...image.notices];
      return { info: describe(path, image.disk ?? null, image, notices), notices };
    },
    (_image, { info, notices }) => {
      printNotices(flags, notices);
      return info;
    },
  );
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
    `allocated:  ${formatSize(info.allocated)}${shareOf(info)}`,
    ...(first === undefined ? [] : formatLayer(first)),
    ...formatPartitions(info),
    ...parents.flatMap((parent) => ['', `parent:     ${parent.file}`, ...formatLayer(parent)]),
  ];
}

function shareOf({ allocated, size }: ImageInfo): string {
  if (allocated === 0) return '';
  const percent = Math.round((100 * allocated) / size);
  return `, ${percent === 0 ? 'less than 1' : percent} % of the disk`;
}

/** Bytes that the files of a layer take up on the host; several extents can be in one. */
function hostBytesOf({ extents }: LayerInfo): number {
  const files = new Map(extents.map((extent) => [extent.file, extent.fileAllocated]));
  return [...files.values()].reduce((sum, bytes) => sum + bytes, 0);
}

const USES = {
  reader: 'another program (a mount, or QEMU) reads it',
  writer: 'another program (a mount, or QEMU) has it open for writing',
} as const;

function formatLayer(layer: LayerInfo): string[] {
  const parent = layer.parentCid === null ? '' : `, parent CID ${layer.parentCid}`;
  return [
    `takes up:   ${formatSize(hostBytesOf(layer))} on the host`,
    `CID:        ${layer.cid ?? 'none'}${parent}`,
    // A writer marks the image until it closes it.
    ...(layer.uncleanShutdown && layer.inUseBy !== 'writer'
      ? ['state:      was not closed cleanly']
      : []),
    ...(layer.inUseBy === null ? [] : [`in use:     ${USES[layer.inUseBy]}`]),
    ...(layer.vmwareMark === null ? [] : [`in use:     marked by VMware (${layer.vmwareMark})`]),
    ...layer.extents.map((extent) => {
      const file = extent.file === null ? '' : ` ${extent.file}`;
      const offset = extent.fileOffset === 0 ? '' : ` at byte ${extent.fileOffset}`;
      return `extent:     ${extent.access} ${extent.type} ${formatSize(extent.size)}${file}${offset}`;
    }),
  ];
}
