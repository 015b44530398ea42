/**
 * Checking an image and its parents: everything that opening refuses at the first sight of it, and
 * what it does not look at, each problem by itself.
 */
import { describeError } from '../../errno.js';
import type { Descriptor } from '../../vmdk/descriptor.js';
import type { ExtentLine } from '../../vmdk/extent-line.js';
import { CHAIN_LENGTH_MAX, SECTOR_BYTES } from '../../vmdk/limits.js';
import { decodeSparseHeader, type SparseHeader } from '../../vmdk/sparse-extent-header.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import type { FileSource } from '../file-source.js';
import { FileUses } from '../file-uses.js';
import { findDescriptor, readBytes, type DescriptorPlace } from '../find-descriptor.js';
import { cidMismatch, findParent } from '../find-parent.js';
import { TRACKED_VERSION } from '../open-hosted.js';
import { isLockError } from '../image-locks.js';
import { findExtentFile, isPlainType, sparseKind } from '../open-extent.js';
import { OpenedFiles, type OpenedFile } from '../opened-files.js';
import { checkCowdExtent, checkHostedExtent } from './check-hosted.js';
import { checkSeSparseExtent } from './check-se-sparse.js';
import { checkStreamExtent } from './check-stream.js';
import { report, type ExtentCheck } from './extent-check.js';
import { Problems } from './problem.js';

/** Why an image whose changes are tracked is not mended. */
const TRACKED =
  'its changes are tracked for incremental backups, which mending would falsify; turn change tracking off first';

/** Told how much of a file is done, from 0 to 1. */
type CheckProgress = (path: string, share: number) => void;

/** What a check found. */
export interface CheckResult {
  readonly problems: Problems;
  /** The extents of the image itself that may be written, without those of its parents. */
  readonly files: readonly OpenedFile[];
  /** Why others of its extents are not mended, by their paths. */
  readonly kept: ReadonlyMap<string, string>;
}

/** What the layers of an image share while they are checked. */
interface CheckContext {
  readonly progress: CheckProgress;
  readonly problems: Problems;
  /** Counts the tables of all extents. */
  readonly tables: OpenedFiles;
  readonly uses: FileUses;
}

/**
 * Checks the image `source`. Its files stay open.
 *
 * @throws VmdkError where the image file itself is no image; VMDK_IN_USE; the system's error
 */
export function checkImage(source: FileSource, progress: CheckProgress): CheckResult {
  const problems = new Problems();
  const context = { progress, problems, tables: new OpenedFiles(), uses: new FileUses() };
  const top = new LayerCheck(source, context, 0);
  top.run();
  const seen = new Set([top.identity]);
  for (let child = top; ;) {
    const parent = parentOf(child, problems);
    if (parent === undefined) break;
    if (seen.size === CHAIN_LENGTH_MAX) {
      const message = `has more than ${CHAIN_LENGTH_MAX} links to its base, and is not opened; those behind ${child.path} are not checked`;
      problems.add({ kind: 'unusable', severity: 'error', file: top.path, message });
      break;
    }
    const layer = openParent(parent, context, child.depth + 1);
    if (layer === undefined) break;
    if (seen.has(layer.identity)) {
      const message = `its parent ${layer.path} is also its child; the chain has no base`;
      problems.add({ kind: 'unusable', severity: 'error', file: child.path, message });
      break;
    }
    seen.add(layer.identity);
    checkCid(child, layer, problems);
    layer.run();
    child = layer;
  }
  const conflicts = context.uses.conflicts(source.readOnlyReason !== undefined);
  for (const { count, path } of conflicts) {
    const message = `the disk uses it ${count} times; only one of the uses can be right`;
    problems.add({ kind: 'unusable', severity: 'error', file: path, message });
  }
  const twice = new Set(conflicts.map(({ identity }) => identity));
  const { kept } = top;
  const files = top.files.filter(({ identity, path }) => !twice.has(identity) && !kept.has(path));
  return { problems, files, kept };
}

class LayerCheck {
  readonly path: string;
  readonly identity: string;
  readonly source: FileSource;
  readonly place: DescriptorPlace;
  readonly descriptor: Descriptor;
  /** Extents that may be written. */
  readonly files: OpenedFile[] = [];
  /** Those of them that are not mended, with the reason. */
  readonly kept = new Map<string, string>();
  readonly #context: CheckContext;
  #isTracked = false;
  /** Layers above. */
  readonly depth: number;

  constructor(source: FileSource, context: CheckContext, depth: number) {
    const file = source.open();
    this.source = source;
    this.path = source.path;
    this.identity = file.identity;
    this.place = findDescriptor(file);
    this.descriptor = this.place.descriptor;
    if (this.place.embeddedIn === undefined) {
      context.uses.add(file.identity, { depth, kind: 'descriptor', path: file.path });
    }
    this.#context = context;
    this.depth = depth;
    assertCheckable(this.descriptor, source.path);
  }

  run(): void {
    let start = 0;
    const { extents } = this.descriptor;
    for (const line of extents) {
      try {
        this.#checkExtent(line, start);
      } catch (error) {
        if (!(error instanceof VmdkError) || isLockError(error)) throw error;
        this.#unusable(error.file, error.reason);
      }
      start += line.size;
    }
    if (this.descriptor.changeTrackPath !== undefined) this.#isTracked = true;
    if (!this.#isTracked) return;
    // What a repair changes would be missing in the next incremental backup.
    for (const { path } of this.files) this.kept.set(path, TRACKED);
  }

  #unusable(file: string, message: string): void {
    this.#context.problems.add({ kind: 'unusable', severity: 'error', file, message });
  }

  #checkExtent(line: ExtentLine, start: number): void {
    if (line.access === 'NOACCESS' || line.type === 'ZERO') return;
    const { embeddedIn, file } = this.place;
    if (start === 0 && embeddedIn !== undefined) {
      if (line.access === 'RW') this.files.push(file);
      this.#use(file, 'sparse');
      this.#checkHosted(this.#checkOf(file, line, start), embeddedIn);
      return;
    }
    const extent = findExtentFile(this.source, this.descriptor, line).open();
    if (line.access === 'RW') this.files.push(extent);
    const check = this.#checkOf(extent, line, start);
    const isPlain = isPlainType(line.type);
    this.#use(extent, isPlain ? 'plain' : 'sparse');
    if (isPlain) checkFlat(check, line);
    else this.#checkSparse(check);
  }

  #use(file: OpenedFile, kind: 'sparse' | 'plain'): void {
    this.#context.uses.add(file.identity, { depth: this.depth, kind, path: file.path });
  }

  #checkOf(file: OpenedFile, line: ExtentLine, start: number): ExtentCheck {
    const progress = (share: number): void => {
      this.#context.progress(file.path, share);
    };
    progress(0);
    const { problems, tables } = this.#context;
    return { file, start, size: line.size, problems, files: tables, progress };
  }

  #checkSparse(check: ExtentCheck): void {
    const head = readBytes(check.file, 0, SECTOR_BYTES);
    const kind = sparseKind(head);
    if (kind === 'cowd') checkCowdExtent(check);
    else if (kind === 'seSparse') checkSeSparseExtent(check);
    else this.#checkHosted(check, decodeSparseHeader(head, check.file.path));
  }

  #checkHosted(check: ExtentCheck, header: SparseHeader): void {
    if (header.isCompressed) {
      checkStreamExtent(check, header);
      return;
    }
    if (header.version >= TRACKED_VERSION) this.#isTracked = true;
    if (header.unknownFlags !== 0) {
      const flags = `0x${header.unknownFlags.toString(16)}`;
      this.kept.set(check.file.path, `its header has flags that are not known (${flags})`);
    }
    checkHostedExtent(check, header);
  }
}

function assertCheckable(descriptor: Descriptor, path: string): void {
  if (descriptor.isEncrypted) {
    throw new VmdkError('VMDK_ENCRYPTED', path, 'the disk is encrypted and cannot be checked');
  }
  if (descriptor.extents.length > 0) return;
  throw new VmdkError('VMDK_NO_EXTENTS', path, 'its descriptor names no extent');
}

function checkFlat(check: ExtentCheck, line: ExtentLine): void {
  const needed = line.fileOffset + line.size;
  if (check.file.length >= needed) return;
  report(check, {
    kind: 'truncated',
    severity: 'error',
    offset: check.file.length,
    message: `the extent needs ${needed} bytes, but the file has only ${check.file.length}`,
  });
}

/** The parent of `child`; where it cannot be found that is a problem of the child. */
function parentOf(child: LayerCheck, problems: Problems): FileSource | undefined {
  try {
    return findParent(child);
  } catch (error) {
    if (!(error instanceof VmdkError)) throw error;
    const { reason: message } = error;
    problems.add({ kind: 'unusable', severity: 'error', file: child.path, message });
    return undefined;
  }
}

function openParent(
  source: FileSource,
  context: CheckContext,
  depth: number,
): LayerCheck | undefined {
  try {
    return new LayerCheck(source, context, depth);
  } catch (error) {
    if (isLockError(error)) throw error;
    const message = `cannot be used as a parent: ${describeError(error)}`;
    context.problems.add({ kind: 'unusable', severity: 'error', file: source.path, message });
    return undefined;
  }
}

function checkCid(child: LayerCheck, parent: LayerCheck, problems: Problems): void {
  const message = cidMismatch(child, parent);
  if (message === undefined) return;
  problems.add({ kind: 'cid-mismatch', severity: 'error', file: child.path, message });
}
