/**
 * Opening one extent. Its line in the descriptor says how large it is and which file it has; what
 * kind of sparse extent the file is, it says itself, because programs write one word for several.
 */
import { COWD_MAGICNUMBER } from '../vmdk/cowd-header.js';
import type { Descriptor } from '../vmdk/descriptor.js';
import { decodeFileNames } from '../vmdk/file-names.js';
import type { ExtentLine } from '../vmdk/extent-line.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { SESPARSE_CONST_HEADER_MAGIC } from '../vmdk/se-sparse-header.js';
import { decodeSparseHeader, type SparseHeader } from '../vmdk/sparse-extent-header.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { CheckedExtent, ExtentPlace, ExtentUse } from './checked-extent.js';
import { findFirst, type FileSource } from './file-source.js';
import { readBytes, type DescriptorPlace } from './find-descriptor.js';
import type { FlatExtentDescription } from './flat-extent.js';
import { checkCowd } from './open-cowd.js';
import { checkHosted } from './open-hosted.js';
import { checkSeSparse } from './open-se-sparse.js';
import { checkStream } from './open-stream.js';
import { hostReadOnlyReason, type OpenedFile, type OpenedFiles } from './opened-files.js';
import type { ZeroExtentDescription } from './zero-extent.js';

/** An extent that is open: described, or waiting for its table memory. */
export interface OpenedExtent {
  readonly line: ExtentLine;
  /** The extent's file; undefined where it has none. */
  readonly file: OpenedFile | undefined;
  /** Why it is not written; undefined where it is. */
  readonly readOnlyReason: string | undefined;
  readonly description: FlatExtentDescription | ZeroExtentDescription | CheckedExtent;
}

/** Whether an extent waits for its table memory. */
export function isChecked(description: OpenedExtent['description']): description is CheckedExtent {
  return 'describe' in description;
}

/** The image that an extent belongs to. */
export interface ExtentContext {
  readonly files: OpenedFiles;
  readonly source: FileSource;
  readonly descriptor: DescriptorPlace;
  readonly use: ExtentUse & { readonly allowDevices: boolean };
}

/**
 * Opens the extent of `line`, which begins at byte `start` of the disk.
 *
 * @throws VmdkError that says what is wrong with it; the system's error
 */
export function openExtent(context: ExtentContext, line: ExtentLine, start: number): OpenedExtent {
  const place = { start, size: line.size };
  if (line.access === 'NOACCESS' || line.type === 'ZERO') {
    const kind = line.access === 'NOACCESS' ? 'noaccess' : 'zero';
    const description = { kind, ...place, path: context.source.path } as const;
    return { line, file: undefined, readOnlyReason: readOnlyReason(context, line), description };
  }
  const { embeddedIn, file } = context.descriptor;
  if (start === 0 && embeddedIn !== undefined) {
    // The name in an embedded descriptor is what the file was called when it was made.
    return openHosted(context, line, place, file, embeddedIn);
  }
  const open = OPENERS[line.type];
  if (open === undefined) throw unsupported(context.source, line, 'which is not known');
  return open(context, line, place);
}

type Opener = (context: ExtentContext, line: ExtentLine, place: ExtentPlace) => OpenedExtent;

/** How an extent with a file is opened, by the word in its line. */
const OPENERS: Readonly<Partial<Record<string, Opener>>> = {
  FLAT: openFlat,
  VMFS: openFlat,
  VMFSRAW: openFlat,
  VMFSRDM: openFlat,
  SPARSE: openSparse,
  VMFSSPARSE: openSparse,
  SESPARSE: openSparse,
  VSANSPARSE: openSparse,
};

function openFlat(context: ExtentContext, line: ExtentLine, place: ExtentPlace): OpenedExtent {
  const isRaw = line.type === 'VMFSRAW' || line.type === 'VMFSRDM';
  if (isRaw && !context.use.allowDevices) {
    throw unsupported(
      context.source,
      line,
      'a device of an ESX host; where that device is at hand, allow it with --allow-devices',
    );
  }
  const probe = findExtentFile(context.source, context.descriptor.descriptor, line).open();
  const needed = line.fileOffset + line.size;
  if (probe.length < needed) {
    throw new VmdkError(
      'VMDK_TRUNCATED',
      probe.path,
      `the extent needs ${needed} bytes (descriptor line ${line.lineNumber}), but the file has only ${probe.length}; it is truncated`,
    );
  }
  const reason = readOnlyReason(context, line, probe);
  const file = reason === undefined ? context.files.openForWriting(probe) : probe;
  const dirty = new SharedArrayBuffer(4);
  const description = { kind: 'flat', ...place, file, fileOffset: line.fileOffset, dirty } as const;
  return { line, file, readOnlyReason: reason, description };
}

function openSparse(context: ExtentContext, line: ExtentLine, place: ExtentPlace): OpenedExtent {
  const probe = findExtentFile(context.source, context.descriptor.descriptor, line).open();
  const head = readBytes(probe, 0, SECTOR_BYTES);
  const kind = sparseKind(head);
  const { files, use } = context;
  if (kind === 'hosted') {
    if (line.type === 'VSANSPARSE') {
      throw unsupported(context.source, line, 'a vSAN object, whose data is not in the file');
    }
    return openHosted(context, line, place, probe, decodeSparseHeader(head, probe.path));
  }
  const reason = readOnlyReason(context, line, probe);
  const readOnly = reason !== undefined;
  const file = readOnly ? probe : files.openForWriting(probe);
  const description =
    kind === 'cowd'
      ? checkCowd(files, file, place, { ...use, readOnly })
      : checkSeSparse(files, file, place, { ...use, readOnly });
  return { line, file, readOnlyReason: reason, description };
}

function openHosted(
  context: ExtentContext,
  line: ExtentLine,
  place: ExtentPlace,
  probe: OpenedFile,
  header: SparseHeader,
): OpenedExtent {
  const { files, use } = context;
  if (header.isCompressed) {
    const reason = use.readOnly
      ? readOnlyReason(context, line)
      : 'it is streamOptimized: compressed grains cannot be changed in place';
    const description = checkStream(files, probe, header, place);
    return { line, file: probe, readOnlyReason: reason, description };
  }
  const reason = readOnlyReason(context, line, probe);
  const readOnly = reason !== undefined;
  const file = readOnly ? probe : files.openForWriting(probe);
  const description = checkHosted(files, file, header, place, { ...use, readOnly });
  return { line, file, readOnlyReason: reason, description };
}

function readOnlyReason(
  context: ExtentContext,
  line: ExtentLine,
  probe?: OpenedFile,
): string | undefined {
  if (context.source.readOnlyReason !== undefined) return context.source.readOnlyReason;
  if (context.use.readOnly) return 'opened read-only';
  if (line.access !== 'RW') return `its extent is ${line.access}`;
  return probe === undefined ? undefined : hostReadOnlyReason(probe);
}

/** What vSAN and virtual volumes call the data of a disk. */
const OBJECT_NAME = /^[a-z][a-z0-9+.-]*:\/\//i;

/**
 * The file of the extent of `line`, which `source` names with `descriptor`.
 *
 * @throws VmdkError VMDK_MISSING_FILE and others that say why it cannot be used; the system's error
 */
export function findExtentFile(
  source: FileSource,
  descriptor: Descriptor,
  line: ExtentLine,
): FileSource {
  const names = decodeFileNames(line.fileName, descriptor);
  const found = findFirst(source, names, 'extent');
  if (found !== undefined) return found;
  const [name] = names;
  if (name.startsWith('\\\\.\\')) throw unsupported(source, line, 'a device of a Windows machine');
  if (OBJECT_NAME.test(name)) {
    throw new VmdkError(
      'VMDK_UNSUPPORTED',
      source.path,
      `its data is in an object of a datastore, ${name} (descriptor line ${line.lineNumber}), and in no file; have VMware export the disk (vmkfstools -i, or as an OVF)`,
    );
  }
  throw new VmdkError(
    'VMDK_MISSING_FILE',
    source.path,
    `extent file ${JSON.stringify(name)} (descriptor line ${line.lineNumber}) does not exist; put it beside the descriptor`,
  );
}

/** Whether extents of `type`, a word of their line, are plain files. */
export function isPlainType(type: string): boolean {
  return OPENERS[type] === openFlat;
}

/** What kind of sparse extent begins with `head`, its first sector. */
export function sparseKind(head: Buffer): 'cowd' | 'seSparse' | 'hosted' {
  if (head.readUInt32LE() === COWD_MAGICNUMBER) return 'cowd';
  const isSeSparse = head.readBigUInt64LE() === BigInt(SESPARSE_CONST_HEADER_MAGIC);
  return isSeSparse ? 'seSparse' : 'hosted';
}

function unsupported(source: FileSource, line: ExtentLine, what: string): VmdkError {
  return new VmdkError(
    'VMDK_UNSUPPORTED',
    source.path,
    `descriptor line ${line.lineNumber} has an extent of type ${line.type}, ${what}`,
  );
}
