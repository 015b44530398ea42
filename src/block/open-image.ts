/**
 * Opening a disk: the image file, its parents down to the base, and their extents. The result is a
 * plain description that can be posted to any thread; `attachImage` makes a working device of it.
 */
import { decodeFileName, type Descriptor } from '../vmdk/descriptor.js';
import type { ExtentLine } from '../vmdk/extent-line.js';
import { formatCid } from '../vmdk/cid.js';
import { CHAIN_LENGTH_MAX } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { BlockDevice } from './block-device.js';
import { HostFile, type HostFileDescription } from './host-file.js';
import { ImageLayer, type LayerDescription } from './image-layer.js';
import { LayerState, newLayerState } from './layer-state.js';
import { findBeside, isSparse, openLayer, type OpenedLayer } from './open-layer.js';
import { OpenedFiles } from './opened-files.js';
import type { CheckedSparse } from './open-sparse.js';

/** Memory for grain tables of one image, parents included, unless told otherwise: bytes. */
const TABLE_MEMORY_DEFAULT = 256 * 1024 * 1024;

export interface OpenOptions {
  readonly readOnly: boolean;
  /** Most memory for grain tables, in bytes. */
  readonly tableMemory?: number;
}

/** An open disk as it travels between threads: the image first, then its parents. */
export interface ImageDescription {
  readonly layers: readonly LayerDescription[];
}

/** An open disk: how to attach it elsewhere, what was found, and the device of this thread. */
export interface OpenedImage {
  readonly description: ImageDescription;
  readonly chain: readonly LayerFacts[];
  readonly device: BlockDevice;
}

/** What was found in one image file of a chain. */
export interface LayerFacts {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly descriptor: Descriptor;
  readonly isUnclean: boolean;
  /** The extent lines, and the path of each one's file where it has one. */
  readonly extents: readonly { readonly line: ExtentLine; readonly path: string | undefined }[];
}

/**
 * Opens the disk whose image file is `path`; parents are opened read-only. Only the thread that
 * opened it closes it.
 *
 * @throws VmdkError that says what is wrong with the image, a parent or an extent; the system's error
 */
export function openImage(path: string, options: OpenOptions): OpenedImage {
  const files = new OpenedFiles();
  try {
    const chain = openChain(files, path, options.readOnly);
    assertDistinctFiles(chain, options.readOnly);
    const sparse = chain.flatMap((layer) =>
      layer.extents.map(({ description }) => description).filter(isSparse),
    );
    const share = tableShare(sparse, options.tableMemory ?? TABLE_MEMORY_DEFAULT);
    const layers = chain.map((layer, depth) =>
      describeLayer(layer, depth > 0 || options.readOnly, share),
    );
    const description = { layers };
    return { description, chain: chain.map(factsOf), device: attachImage(description) };
  } catch (error) {
    files.closeAll();
    throw error;
  }
}

/**
 * To be told when a thread that had attached the image ended by itself: what it was in the middle
 * of is given up, and layers that it may have left half done are not written any more.
 */
export function threadEnded(description: ImageDescription, thread: number): void {
  for (const { state } of description.layers) new LayerState(state).threadEnded(thread);
}

/** A device over an image that some thread has open. */
export function attachImage(description: ImageDescription): BlockDevice {
  const device = description.layers.reduceRight<BlockDevice | undefined>(
    (parent, layer) => new ImageLayer(layer, parent),
    undefined,
  );
  if (device === undefined) throw new RangeError('an image has at least one layer');
  return device;
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
  const isWhole = fileOffset === 0 && size === layer.size && new HostFile(file).length() === size;
  return isWhole ? file : undefined;
}

function openChain(files: OpenedFiles, path: string, readOnly: boolean): OpenedLayer[] {
  const chain: OpenedLayer[] = [];
  for (let next: string | undefined = path; next !== undefined;) {
    if (chain.length === CHAIN_LENGTH_MAX) {
      throw new VmdkError(
        'VMDK_CHAIN_TOO_LONG',
        path,
        `has more than ${CHAIN_LENGTH_MAX} links to its base`,
      );
    }
    const child = chain.at(-1);
    const layer = openLayer(files, next, readOnly || child !== undefined);
    if (child !== undefined) {
      assertNoLoop(chain, child, layer);
      assertCid(child, layer);
    }
    chain.push(layer);
    next = parentPath(layer);
  }
  return chain;
}

function assertNoLoop(
  chain: readonly OpenedLayer[],
  child: OpenedLayer,
  parent: OpenedLayer,
): void {
  if (!chain.some(({ identity }) => identity === parent.identity)) return;
  throw new VmdkError(
    'VMDK_CHAIN_LOOP',
    child.path,
    `its parent ${parent.path} is also its child; the chain has no base`,
  );
}

/** Where the parent of `child` is; undefined where it is the base. */
function parentPath(child: OpenedLayer): string | undefined {
  const { parentCid, parentFileNameHint: hint } = child.descriptor;
  if (hint === undefined) {
    if (parentCid === undefined) return undefined;
    throw new VmdkError(
      'VMDK_BAD_DESCRIPTOR',
      child.path,
      `has a parentCID (${formatCid(parentCid)}) but no parentFileNameHint that names the parent`,
    );
  }
  const name = decodeFileName(hint, child.descriptor);
  const path = findBeside(child.path, name);
  if (path !== undefined) return path;
  throw new VmdkError(
    'VMDK_MISSING_FILE',
    child.path,
    `its parent ${JSON.stringify(name)} does not exist`,
  );
}

function assertCid(child: OpenedLayer, parent: OpenedLayer): void {
  const expected = child.descriptor.parentCid;
  const found = parent.descriptor.cid;
  if (expected === undefined || expected === found) return;
  throw new VmdkError(
    'VMDK_CID_MISMATCH',
    child.path,
    `expects parent CID ${formatCid(expected)}, but ${parent.path} has CID ${found === undefined ? 'none' : formatCid(found)}; the parent was modified after the child was made`,
  );
}

/** One use of a file by a disk; `depth` counts the layers above. */
interface FileUse {
  readonly depth: number;
  readonly kind: 'descriptor' | 'sparse' | 'plain';
  readonly file: HostFileDescription;
}

/**
 * Refuses a disk that uses a file twice where that cannot be meant: a sparse file as two extents,
 * which would allocate over each other; a file that is written and is also a parent's, or a
 * descriptor. Plain extents of one image may share a file, each at its own place.
 */
function assertDistinctFiles(chain: readonly OpenedLayer[], readOnly: boolean): void {
  const uses = new Map<string, FileUse[]>();
  const add = (identity: string, use: FileUse): void => {
    uses.set(identity, [...(uses.get(identity) ?? []), use]);
  };
  chain.forEach((layer, depth) => {
    const { descriptorFile, extents, identity } = layer;
    const { file, isOwnFile } = descriptorFile;
    if (isOwnFile) add(identity, { depth, kind: 'descriptor', file });
    for (const extent of extents) {
      if (extent.file === undefined) continue;
      const kind = isSparse(extent.description) ? 'sparse' : 'plain';
      add(extent.file.identity, { depth, kind, file: extent.file });
    }
  });
  for (const group of uses.values()) {
    if (!isConflict(group, readOnly)) continue;
    throw new VmdkError(
      'VMDK_FILE_USED_TWICE',
      chain[0]?.path ?? '',
      `the disk uses ${group[0]?.file.path ?? ''} ${group.length} times; only one of the uses can be right`,
    );
  }
}

function isConflict(uses: readonly FileUse[], readOnly: boolean): boolean {
  if (uses.filter(({ kind }) => kind === 'sparse').length > 1) return true;
  const isWritten = uses.some(({ depth, kind }) => depth === 0 && kind !== 'descriptor');
  if (readOnly || !isWritten || uses.length === 1) return false;
  return uses.some(({ depth, kind }) => depth > 0 || kind !== 'plain');
}

function factsOf(layer: OpenedLayer): LayerFacts {
  const { descriptor, extents, isUnclean, path, size } = layer;
  const lines = extents.map(({ file, line }) => ({ line, path: file?.path }));
  return { path, size, descriptor, isUnclean, extents: lines };
}

/** How many slots an extent gets: one for each table where they all fit, else its share. */
function tableShare(
  extents: readonly CheckedSparse[],
  memory: number,
): (extent: CheckedSparse) => number {
  const wanted = extents.reduce((sum, extent) => sum + extent.tableCount * extent.tableBytes, 0);
  const part = Math.min(1, memory / Math.max(1, wanted));
  return (extent) => Math.max(1, Math.floor(extent.tableCount * part));
}

function describeLayer(
  layer: OpenedLayer,
  readOnly: boolean,
  share: (extent: CheckedSparse) => number,
): LayerDescription {
  const writable = layer.extents.some(({ line }) => line.access === 'RW');
  return {
    path: layer.path,
    size: layer.size,
    readOnly: readOnly || !writable,
    extents: layer.extents.map(({ description }) =>
      isSparse(description) ? description.describe(share(description)) : description,
    ),
    access: layer.extents.map(({ line }) => line.access),
    state: newLayerState(),
    descriptor: layer.descriptorFile,
  };
}
