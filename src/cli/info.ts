/** `vmdkfs info IMAGE [--json]`. */
import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { printable } from '../errno.js';
import { openImage, type LayerFacts, type OpenedImage } from '../block/open-image.js';
import { formatCid } from '../vmdk/cid.js';
import { formatSize } from './size.js';
import { print } from './output.js';

/** Adds the command to the program. */
export function addInfoCommand(program: Command): void {
  program
    .command('info')
    .summary('show what an image is made of')
    .description('Show size, subformat, extents and parents of an image. The image is only read.')
    .argument('<image>', 'the VMDK file, or the descriptor of a split disk')
    .option('--json', 'print JSON')
    .action((path: string, flags: { readonly json?: true }) => {
      const image = openImage(path, { readOnly: true });
      try {
        const info = describe(path, image);
        print(
          ...(flags.json === true
            ? [JSON.stringify(info, undefined, 2)]
            : format(info).map(printable)),
        );
      } finally {
        image.device.close();
      }
    });
}

/** The JSON shape; sizes in bytes. */
interface ImageInfo {
  readonly image: string;
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

function describe(path: string, image: OpenedImage): ImageInfo {
  return {
    image: path,
    size: image.device.size,
    allocated: image.device.allocatedBytes(),
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
    extents: layer.extents.map(({ line, path }) => ({
      access: line.access,
      type: line.type,
      size: line.size,
      file: path ?? null,
      fileOffset: line.fileOffset,
      fileAllocated: path === undefined ? 0 : statSync(path).blocks * 512,
    })),
  };
}

function format(info: ImageInfo): string[] {
  const [first, ...parents] = info.chain;
  return [
    `image:      ${info.image}`,
    `subformat:  ${first?.createType ?? ''}`,
    `size:       ${formatSize(info.size)}`,
    `allocated:  ${formatSize(info.allocated)}`,
    ...(first === undefined ? [] : formatLayer(first)),
    ...parents.flatMap((parent) => ['', `parent:     ${parent.file}`, ...formatLayer(parent)]),
  ];
}

function formatLayer(layer: LayerInfo): string[] {
  const parent = layer.parentCid === null ? '' : `, parent CID ${layer.parentCid}`;
  return [
    `CID:        ${layer.cid ?? 'none'}${parent}`,
    ...(layer.uncleanShutdown ? ['state:      was not closed cleanly'] : []),
    ...layer.extents.map((extent) => {
      const file = extent.file === null ? '' : ` ${extent.file}`;
      const offset = extent.fileOffset === 0 ? '' : ` at byte ${extent.fileOffset}`;
      return `extent:     ${extent.access} ${extent.type} ${formatSize(extent.size)}${file}${offset}`;
    }),
  ];
}
