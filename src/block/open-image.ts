/**
 * Opening a disk: the image file, its parents down to the base, and their extents. The result is a
 * plain description that can be posted to any thread; `attachImage` makes a working device of it.
 */
import type { Descriptor } from '../vmdk/descriptor.js';
import type { ExtentLine } from '../vmdk/extent-line.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { attachImage, type ImageDescription } from './attach-image.js';
import type { BlockDevice } from './block-device.js';
import type { CheckedExtent } from './checked-extent.js';
import { HostSource, type FileSource } from './file-source.js';
import { watchFiles } from './file-watch.js';
import { newGrainCache } from './grain-cache.js';
import { HostFile, type HostFileDescription } from './host-file.js';
import { FileLocks, useOf, type FileUse } from './image-locks.js';
import type { ExtentDescription, LayerDescription } from './image-layer.js';
import { newLayerState } from './layer-state.js';
import { openChain } from './open-chain.js';
import { isChecked } from './open-extent.js';
import type { OpenedLayer } from './open-layer.js';
import { policyOf, type OpenPermissions, type OpenPolicy } from './open-policy.js';
import { OpenedFiles } from './opened-files.js';
import { OvaArchive } from './ova-archive.js';
import { newOwners } from './parent-chain.js';

/** Memory for grain tables of one image, parents included, unless told otherwise: bytes. */
const TABLE_MEMORY_DEFAULT = 256 * 1024 * 1024;

/** Memory for inflated grains of one image, parents included: bytes. */
const CACHE_MEMORY = 64 * 1024 * 1024;

export interface OpenOptions extends OpenPermissions {
  readonly readOnly: boolean;
  /** Which disk of an archive: its number from 1, or its name. */
  readonly disk?: string | undefined;
  /** Where the parent of the image is, instead of where the image says. */
  readonly parent?: string | undefined;
  /** Most memory for grain tables, in bytes. */
  readonly tableMemory?: number;
  /** Whether other programs are kept from using the image in a way that does not go together. */
  readonly lock?: boolean;
}

/** An open disk: how to attach it elsewhere, what was found, and the device of this thread. */
export interface OpenedImage {
  readonly description: ImageDescription;
  readonly chain: readonly LayerFacts[];
  readonly device: BlockDevice;
  /** The name of the disk in the archive that was opened; undefined where it was no archive. */
  readonly disk: string | undefined;
  /** What the user should know of it, a sentence each. */
  readonly notices: readonly string[];
}

/** What was found in one image file of a chain. */
export interface LayerFacts {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly descriptor: Descriptor;
  readonly isUnclean: boolean;
  /** How other programs have it open. */
  readonly use: FileUse;
  readonly extents: readonly ExtentFacts[];
}

/** What was found of one extent. */
interface ExtentFacts {
  readonly line: ExtentLine;
  /** The path of its file, where it has one. */
  readonly path: string | undefined;
  /** Bytes that the file takes up on the host. */
  readonly allocated: number;
}

/**
 * Opens the disk whose image file is `path`, or that is inside the archive `path`; parents are opened
 * read-only. Where nothing of it can be written it is opened read-only too, with a notice. Only the
 * thread that opened it closes it.
 *
 * @throws VmdkError that says what is wrong with the image, a parent or an extent; the system's error
 */
export function openImage(path: string, options: OpenOptions): OpenedImage {
  const notices: string[] = [];
  const files = new OpenedFiles(options.lock === true ? new FileLocks(notices) : undefined);
  const policy = policyOf(options);
  try {
    const source = sourceOf(files, path, policy, options.disk, notices);
    const { parent } = options;
    const base = parent === undefined ? undefined : HostSource.named(files, parent, policy);
    const chain = openChain(files, source, policy, notices, base);
    const [top] = chain;
    if (!policy.readOnly && top?.readOnlyReason !== undefined) {
      notices.push(`${top.path}: ${top.readOnlyReason}; opened read-only`);
    }
    return finishOpening(chain, source.member, options, notices);
  } catch (error) {
    files.closeAll();
    throw error;
  }
}

/**
 * The open disk of `chain`, whose layers are open and checked, the image first.
 *
 * @param disk its name in an archive
 * @param notices gets what is to be said of an image that was not closed
 */
export function finishOpening(
  chain: readonly OpenedLayer[],
  disk: string | undefined,
  options: OpenOptions,
  notices: string[],
): OpenedImage {
  const [top] = chain;
  if (top !== undefined && top.readOnlyReason === undefined) noteUnclean(top, notices);
  const layers = describeLayers(chain, options.tableMemory);
  const description = { layers, owners: newOwners(layers) };
  const device = attachImage(description);
  return { description, chain: chain.map(factsOf), device, disk, notices };
}

/** Says of an image that was not closed what the check of its tables found. */
function noteUnclean(layer: OpenedLayer, notices: string[]): void {
  for (const { description, file } of layer.extents) {
    if (!isChecked(description) || !description.isUnclean || file === undefined) continue;
    const { lateCopies } = description;
    const copies =
      lateCopies === 0
        ? ''
        : `, and ${lateCopies} redundant ${lateCopies === 1 ? 'table is' : 'tables are'} brought up to date with the first write`;
    notices.push(`${file.path}: was not closed cleanly; its tables are sound${copies}`);
  }
}

/** The disks in the archive `path`, by name; undefined where it is no archive. */
export function listDisks(path: string): readonly string[] | undefined {
  const files = new OpenedFiles();
  try {
    const file = files.open(path);
    return OvaArchive.isArchive(file) ? OvaArchive.read(files, file).disks : undefined;
  } finally {
    files.closeAll();
  }
}

/**
 * The image file that the user named: `path`, or a disk inside the archive `path`.
 *
 * @param notices gets what is to be said of the archive
 * @throws VmdkError VMDK_WHICH_DISK, VMDK_NO_DISK, VMDK_BAD_ARCHIVE; the system's error
 */
export function sourceOf(
  files: OpenedFiles,
  path: string,
  policy: OpenPolicy,
  disk: string | undefined,
  notices: string[] = [],
): FileSource {
  const source = HostSource.named(files, path, policy);
  const file = source.open();
  try {
    if (policy.plain === undefined && OvaArchive.isArchive(file)) {
      const archive = OvaArchive.read(files, file);
      notices.push(...archive.notices);
      return archive.disk(disk);
    }
  } finally {
    files.close(file);
  }
  if (disk === undefined) return source;
  throw new VmdkError('VMDK_WHICH_DISK', path, 'is no archive with disks to choose from');
}

/**
 * The file that holds the whole disk byte for byte and nothing else: a single flat extent that has
 * its file to itself; undefined where there is none.
 */
export function wholeFile(description: ImageDescription): HostFileDescription | undefined {
  const [layer] = description.layers;
  const [extent, second] = layer?.extents ?? [];
  if (layer === undefined || extent?.kind !== 'flat' || second !== undefined) return undefined;
  const { file, fileOffset, size } = extent;
  if (file.window !== undefined) return undefined;
  const isWhole = fileOffset === 0 && size === layer.size && new HostFile(file).length() === size;
  return isWhole ? file : undefined;
}

function factsOf(layer: OpenedLayer): LayerFacts {
  const { descriptor, extents, isUnclean, path, size } = layer;
  const facts = extents.map(({ file, line }) => {
    const allocated = file === undefined ? 0 : new HostFile(file).allocatedBytes();
    return {
      line,
      path: file?.path,
      allocated: Number.isFinite(allocated) ? allocated : line.size,
    };
  });
  const use = useOf(layer.descriptorFile.file);
  return { path, size, descriptor, isUnclean, use, extents: facts };
}

/** The files of a layer that are written: one an extent, and that of a descriptor of its own. */
function writtenFiles({ descriptorFile, extents, readOnlyReason }: OpenedLayer) {
  if (readOnlyReason !== undefined) return [];
  const files = extents.map((extent) =>
    extent.readOnlyReason === undefined ? extent.file : undefined,
  );
  return descriptorFile.isOwnFile ? [...files, descriptorFile.file] : files;
}

/** Describes all layers, each extent with its share of the memory for tables and grains. */
export function describeLayers(
  chain: readonly OpenedLayer[],
  tableMemory = TABLE_MEMORY_DEFAULT,
): LayerDescription[] {
  const checked = chain.flatMap((layer) =>
    layer.extents.map(({ description }) => description).filter(isChecked),
  );
  const wanted = checked.reduce((sum, extent) => sum + extent.tableCount * extent.tableBytes, 0);
  const part = Math.min(1, tableMemory / Math.max(1, wanted));
  const streams = checked.filter(({ kind }) => kind === 'stream');
  const largest = Math.max(SECTOR_BYTES, ...streams.map(({ grainBytes }) => grainBytes));
  const cache = newGrainCache(largest, streams.length === 0 ? 0 : CACHE_MEMORY);
  const describe = (extent: CheckedExtent): ExtentDescription => {
    // One slot for each table where they all fit, else a share.
    const slots = Math.max(1, Math.floor(extent.tableCount * part));
    return extent.describe(slots, { cache, id: streams.indexOf(extent) + 1 });
  };
  return chain.map((layer) => ({
    path: layer.path,
    size: layer.size,
    readOnly: layer.readOnlyReason !== undefined,
    extents: layer.extents.map(({ description }) =>
      isChecked(description) ? describe(description) : description,
    ),
    // A NOACCESS extent has an error of its own.
    protection: layer.extents.map(({ description, readOnlyReason }) =>
      description.kind === 'noaccess' ? undefined : readOnlyReason,
    ),
    state: newLayerState(),
    descriptor: layer.descriptorFile,
    firstWrites: layer.firstWrites,
    watched: watchFiles(writtenFiles(layer)),
  }));
}
