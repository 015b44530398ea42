/**
 * `vmdkfs compact`: gives back what an image holds without need. What the disk holds stays the same
 * to the byte, so the CID does, and children of the image stay valid.
 */
import { statSync } from '../../os/host-fs.js';
import { decodeSparseHeader } from '../../vmdk/sparse-extent-header.js';
import { CowdHeader, decodeCowdHeader } from '../../vmdk/cowd-header.js';
import { SECTOR_BYTES } from '../../vmdk/limits.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import { libcIfAny } from '../../os/libc.js';
import { attachImage } from '../attach-image.js';
import { checkAndRepair } from '../check/check-and-repair.js';
import { HostFile, type HostFileDescription } from '../host-file.js';
import type { ExtentDescription } from '../image-layer.js';
import { openImage, type OpenedImage } from '../open-image.js';
import type { OpenPermissions } from '../open-policy.js';
import type { SparseExtentDescription } from '../sparse-extent.js';
import { compactFlat } from './compact-flat.js';
import { compactSectors } from './compact-sectors.js';
import { compactSeSparse } from './compact-se-sparse.js';
import type { ExtentCompaction } from './extent-compaction.js';

export interface CompactOptions {
  readonly permissions: OpenPermissions;
  readonly lock: boolean;
  /** Told how much of a file is done, from 0 to 1. */
  readonly progress: (path: string, share: number) => void;
}

/** What was saved. */
export interface CompactReport {
  /** The extents, with the bytes they took up on the host. */
  readonly files: readonly {
    readonly path: string;
    readonly before: number;
    readonly after: number;
  }[];
  readonly notices: readonly string[];
}

/**
 * Compacts the image `path`; its parents are only read.
 *
 * @throws VmdkError where it is no image, in use, damaged, or of a kind that cannot be changed; the
 *   system's error. The image is sound then, and holds what it did.
 */
export function compactImage(path: string, options: CompactOptions): CompactReport {
  // Holes are found and made through it.
  libcIfAny();
  const { lock, permissions } = options;
  const image = openImage(path, { ...permissions, readOnly: false, lock });
  try {
    assertCompactable(path, image);
    assertSound(path, image, options);
    const files = compactAll(image, options);
    // Those about a mount that is read-only do not apply.
    return { files, notices: image.notices };
  } finally {
    image.device.close();
  }
}

type WithFile = Extract<ExtentDescription, { readonly file: HostFileDescription }>;

function extentsOf({ description }: OpenedImage): WithFile[] {
  const [layer] = description.layers;
  return (layer?.extents ?? []).flatMap((extent) => ('file' in extent ? [extent] : []));
}

/** @throws VmdkError VMDK_READ_ONLY where nothing may be changed */
function assertCompactable(path: string, { chain, description, device }: OpenedImage): void {
  const [layer] = description.layers;
  if (layer?.extents.some(({ kind }) => kind === 'stream') === true) {
    throw new VmdkError(
      'VMDK_READ_ONLY',
      path,
      'is streamOptimized, which is written once and cannot be compacted; vmdkfs convert makes a new one that holds no more than it needs',
    );
  }
  const reason = layer?.protection.find((each) => each !== undefined);
  if (device.readOnly || reason !== undefined) {
    throw new VmdkError('VMDK_READ_ONLY', path, `${reason ?? 'read-only'}; it cannot be compacted`);
  }
  if (chain[0]?.isUnclean !== true) return;
  throw new VmdkError(
    'VMDK_READ_ONLY',
    path,
    'was not closed cleanly; mend it first with vmdkfs check --repair',
  );
}

/**
 * Grains move only where all of them are known to be apart.
 *
 * @throws VmdkError VMDK_BAD_TABLE
 */
function assertSound(path: string, image: OpenedImage, options: CompactOptions): void {
  const { permissions, progress } = options;
  const check = { permissions, disk: undefined, repair: false, lock: false, progress };
  const { problems } = checkAndRepair(path, check);
  const own = new Set([path, ...extentsOf(image).map(({ file }) => file.path)]);
  const found = problems.list.filter(({ file, severity }) => severity !== 'leak' && own.has(file));
  const [first] = found;
  if (first === undefined && problems.dropped === 0) return;
  throw new VmdkError(
    'VMDK_BAD_TABLE',
    first?.file ?? path,
    `${first?.message ?? 'has too many problems'}; see vmdkfs check, and mend it first with --repair`,
  );
}

function compactAll(image: OpenedImage, options: CompactOptions): CompactReport['files'][number][] {
  const [, ...parents] = image.description.layers;
  const parent =
    parents.length === 0 ? undefined : attachImage({ layers: parents, owners: undefined });
  const extents = extentsOf(image);
  const paths = [...new Set(extents.map(({ file }) => file.path))];
  const before = paths.map(allocatedBytes);
  for (const extent of extents) {
    compactExtent(extent, {
      file: new HostFile(extent.file),
      start: extent.start,
      size: extent.size,
      parent,
      progress: (share) => {
        options.progress(extent.file.path, share);
      },
    });
  }
  return paths.map((path, index) => ({
    path,
    before: before[index] ?? 0,
    after: allocatedBytes(path),
  }));
}

function allocatedBytes(path: string): number {
  return statSync(path).blocks * 512;
}

function compactExtent(extent: WithFile, compaction: ExtentCompaction): void {
  // A device has all its space, and no end that could move.
  if (!Number.isFinite(compaction.file.allocatedBytes())) return;
  if (extent.kind === 'flat') compactFlat(compaction, extent.fileOffset);
  else if (extent.kind === 'sparse' && extent.record.kind === 'seSparse') {
    compactSeSparse(compaction, extent, extent.record.header);
  } else if (extent.kind === 'sparse') {
    compactSectors(compaction, extent, fixedEnd(compaction.file, extent));
  }
}

/** Where the part at the front ends that belongs to the extent, whether it is used or not. */
function fixedEnd(file: HostFile, { record }: SparseExtentDescription): number {
  const head = new Uint8Array(CowdHeader.byteLength);
  file.read(head, 0, head.length, 0);
  if (record.kind !== 'cowd') {
    // Space for tables that do not exist yet: VMware takes it to be theirs.
    return decodeSparseHeader(head.subarray(0, SECTOR_BYTES), file.path).overHead;
  }
  const { directoryBytes, gdOffset } = decodeCowdHeader(head, file.path);
  return gdOffset + directoryBytes;
}
