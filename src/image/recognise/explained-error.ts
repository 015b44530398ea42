/**
 * What is said of a file that is no image: what it is, and what to do. It is looked at once more for
 * that, when opening it has failed already: not locked, and never more than its ends and what lies
 * beside it.
 */
import { NoDescriptorError } from '../../block/find-descriptor.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import {
  describeLostExtents,
  describePart,
  describeStray,
  describeTracking,
  findDisk,
} from './disk-part.js';
import { sampleAt } from './file-sample.js';
import { describeFinding } from './finding.js';
import { isChangeTracking, recognise } from './recognise.js';

/** The refusal of a file that was recognised: its reason says what it is, and what to do. */
export class RecognisedError extends VmdkError {}

/** `error` with a better reason, where it is about a file of which more can be said. */
export function explainedError(error: unknown): unknown {
  if (!(error instanceof VmdkError) || error instanceof RecognisedError) return error;
  const reason = reasonOf(error);
  return reason === undefined
    ? error
    : new RecognisedError(error.code, error.file, reason, { cause: error });
}

function reasonOf(error: VmdkError): string | undefined {
  try {
    if (error.code === 'VMDK_NO_EXTENTS') return describeLostExtents(error.file);
    if (error.code === 'VMDK_NOT_VMDK') return describeOther(error);
    return error instanceof NoDescriptorError ? describeExtent(error) : undefined;
  } catch {
    return undefined; // inside an archive, gone, or not ours to read: what was said stays
  }
}

function describeOther(error: VmdkError): string | undefined {
  const sample = sampleAt(error.file);
  if (isChangeTracking(sample)) return describeTracking(error.file);
  const found = recognise(sample);
  const isDisk = found === undefined || found.isPlainDisk === true;
  // An extent that is none was named by its descriptor: that is open already.
  const part = isDisk && error instanceof NoDescriptorError ? describeExtent(error) : undefined;
  return part ?? (found === undefined ? undefined : describeFinding(found));
}

function describeExtent({ extent, file }: NoDescriptorError): string | undefined {
  const part = findDisk(file);
  return part === undefined ? describeStray(file, extent) : describePart(part);
}
