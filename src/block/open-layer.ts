/**
 * Opening one image file, of any kind, without its parent: a sparse file with its descriptor
 * inside, or a descriptor that names its extents.
 */
import { dirname, join, resolve } from 'node:path';
import { realpathSync, statSync } from 'node:fs';
import { changeCid, decodeFileName, type Descriptor } from '../vmdk/descriptor.js';
import type { ExtentLine } from '../vmdk/extent-line.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { decodeSparseHeader } from '../vmdk/sparse-extent-header.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import { findDescriptor, readBytes, type DescriptorPlace } from './find-descriptor.js';
import type { DescriptorFile, ExtentDescription } from './image-layer.js';
import { checkSparse, type CheckedSparse } from './open-sparse.js';
import type { OpenedFile, OpenedFiles } from './opened-files.js';
import { randomCid } from './random-cid.js';

/** An extent that is open: described, or sparse and waiting for its table memory. */
interface OpenedExtent {
  readonly line: ExtentLine;
  /** The extent's file; undefined where it has none. */
  readonly file: OpenedFile | undefined;
  readonly description: ExtentDescription | CheckedSparse;
}

/** Whether an extent is sparse. */
export function isSparse(
  description: ExtentDescription | CheckedSparse,
): description is CheckedSparse {
  return 'describe' in description;
}

/** An image file that is open and checked. */
export interface OpenedLayer {
  readonly path: string;
  readonly identity: string;
  readonly descriptor: Descriptor;
  readonly extents: readonly OpenedExtent[];
  /** Bytes. */
  readonly size: number;
  readonly descriptorFile: DescriptorFile;
  /** Whether a sparse extent's header says that it was not closed. */
  readonly isUnclean: boolean;
}

/**
 * Opens the image file at `path`.
 *
 * @throws VmdkError that says what is wrong with it; the system's error
 */
export function openLayer(files: OpenedFiles, path: string, readOnly: boolean): OpenedLayer {
  const place = findDescriptor(files.open(path, readOnly));
  const { descriptor, file } = place;
  assertUsable(descriptor, path, readOnly);
  const extents: OpenedExtent[] = [];
  let size = 0;
  for (const line of descriptor.extents) {
    extents.push(openExtent(files, place, line, size, readOnly));
    size += line.size;
  }
  if (!Number.isSafeInteger(size)) {
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      path,
      `its extents add up to ${size} bytes, more than can be addressed`,
    );
  }
  return {
    path,
    identity: file.identity,
    descriptor,
    extents,
    size,
    descriptorFile: {
      file: { fd: file.fd, path },
      isOwnFile: !extents.some((extent) => extent.file === file),
      cidWrites: readOnly ? [] : planCidChange(place),
    },
    isUnclean: extents.some(({ description }) => isSparse(description) && description.isUnclean),
  };
}

function assertUsable(descriptor: Descriptor, path: string, readOnly: boolean): void {
  if (descriptor.isEncrypted) {
    throw new VmdkError(
      'VMDK_ENCRYPTED',
      path,
      'the disk is encrypted; decrypt it with VMware first',
    );
  }
  if (descriptor.extents.length === 0) {
    throw new VmdkError(
      'VMDK_NO_EXTENTS',
      path,
      'its descriptor names no extent; the image is corrupt',
    );
  }
  if (!readOnly && descriptor.changeTrackPath !== undefined) {
    throw new VmdkError(
      'VMDK_READ_ONLY',
      path,
      `its changes are tracked in ${JSON.stringify(descriptor.changeTrackPath)}, which writing would falsify; it can be mounted with -o ro`,
    );
  }
}

function openExtent(
  files: OpenedFiles,
  place: DescriptorPlace,
  line: ExtentLine,
  start: number,
  readOnly: boolean,
): OpenedExtent {
  const base = { start, size: line.size };
  const { path } = place.file;
  if (line.access === 'NOACCESS' || line.type === 'ZERO') {
    const kind = line.access === 'NOACCESS' ? 'noaccess' : 'zero';
    return { line, file: undefined, description: { kind, ...base, path } };
  }
  if (start === 0 && place.embeddedIn !== undefined) {
    // The name in an embedded descriptor is what the file was called when it was made.
    const description = checkSparse(files, place.file, place.embeddedIn, base, readOnly);
    return { line, file: place.file, description };
  }
  const isReadOnly = readOnly || line.access === 'RDONLY';
  switch (line.type) {
    case 'FLAT':
    case 'VMFS': {
      const file = openExtentFile(files, place, line, isReadOnly);
      assertFlatLength(file, line);
      const dirty = new SharedArrayBuffer(4);
      const description = {
        kind: 'flat' as const,
        ...base,
        file,
        fileOffset: line.fileOffset,
        dirty,
      };
      return { line, file, description };
    }
    case 'SPARSE': {
      const file = openExtentFile(files, place, line, isReadOnly);
      const header = decodeSparseHeader(readBytes(file, 0, SECTOR_BYTES), file.path);
      return {
        line,
        file,
        description: checkSparse(files, file, header, base, isReadOnly),
      };
    }
    default:
      throw new VmdkError(
        'VMDK_UNSUPPORTED',
        path,
        `descriptor line ${line.lineNumber} has an extent of type ${line.type}, which this version cannot open`,
      );
  }
}

function openExtentFile(
  files: OpenedFiles,
  place: DescriptorPlace,
  line: ExtentLine,
  readOnly: boolean,
): OpenedFile {
  const name = decodeFileName(line.fileName, place.descriptor);
  const path = findBeside(place.file.path, name);
  if (path === undefined) {
    throw new VmdkError(
      'VMDK_MISSING_FILE',
      place.file.path,
      `extent file ${JSON.stringify(name)} (descriptor line ${line.lineNumber}) does not exist; put it beside the descriptor`,
    );
  }
  return files.open(path, readOnly);
}

/**
 * The file that `name` means in the image at `from`: absolute, or beside the image as it was named,
 * or beside the file that name is a link to; undefined where there is none.
 */
export function findBeside(from: string, name: string): string | undefined {
  const candidates = [resolve(dirname(from), name), join(dirname(realpathSync(from)), name)];
  return candidates.find((path) => statSync(path, { throwIfNoEntry: false }) !== undefined);
}

function assertFlatLength(file: OpenedFile, line: ExtentLine): void {
  const needed = line.fileOffset + line.size;
  if (file.length >= needed) return;
  throw new VmdkError(
    'VMDK_TRUNCATED',
    file.path,
    `the extent needs ${needed} bytes (descriptor line ${line.lineNumber}), but the file has only ${file.length}; it is truncated`,
  );
}

function planCidChange(place: DescriptorPlace): DescriptorFile['cidWrites'] {
  const { descriptor, file, offset } = place;
  const cid = randomCid(descriptor.cid);
  return changeCid(descriptor, cid, place.room, file.path).map((change) => ({
    position: offset + change.start,
    bytes: Buffer.from(change.text, 'latin1'),
  }));
}
