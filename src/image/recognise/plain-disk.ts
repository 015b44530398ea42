/** Whether a file without a descriptor may be taken as a plain disk, and what to say of it. */
import { findDescriptor } from '../../block/find-descriptor.js';
import type { OpenedFile } from '../../block/opened-files.js';
import { VmdkError } from '../../vmdk/vmdk-error.js';
import {
  describePart,
  describeStray,
  describeTracking,
  findDisk,
  isNumberedPart,
} from './disk-part.js';
import { RecognisedError } from './explained-error.js';
import { sampleOf } from './file-sample.js';
import { describeFinding } from './finding.js';
import { isChangeTracking, recognise } from './recognise.js';

/**
 * What to say of a plain file: that it is taken as a disk, and why.
 *
 * @param way the option that takes it as a disk whatever it is, for what is refused
 * @throws VmdkError VMDK_NOT_VMDK for a file of another kind, and for one part of a disk
 */
export function plainNotice(file: OpenedFile, way: string): string {
  const { path } = file;
  const sample = sampleOf(file);
  if (isChangeTracking(sample)) throw notPlain(path, describeTracking(path), way);
  const found = recognise(sample);
  if (found !== undefined && found.isPlainDisk !== true) {
    throw notPlain(path, describeFinding(found), way);
  }
  const part = findDisk(path);
  if (part !== undefined && part.count > 1) throw notPlain(path, describePart(part), way);
  if (part !== undefined) {
    return `${path}: is taken as a plain disk; it holds the data of the disk ${part.image}`;
  }
  const stray = isNumberedPart(path) ? describeStray(path, undefined) : undefined;
  if (stray !== undefined) throw notPlain(path, stray, way);
  if (found !== undefined) return `${path}: is ${found.what}, and is taken as a plain disk`;
  return `${path}: is taken as a plain disk; nothing in it says that it is a VMDK`;
}

/**
 * The judge of files that are opened with `--flat`: it says of one that it is taken as a plain disk.
 *
 * @param force whether any file is taken, also one that is recognised as something else
 */
export function plainJudge(force: boolean): (file: OpenedFile, readOnly: boolean) => string {
  return (file, readOnly) => {
    try {
      assertNoVmdk(file);
      const notice = plainNotice(file, FORCED);
      if (!readOnly) assertUndescribed(file.path);
      return notice;
    } catch (error) {
      if (!force || !(error instanceof VmdkError)) throw error;
      const [what = ''] = error.reason.split('; ');
      return `${file.path}: ${what}; --force takes its bytes as a plain disk`;
    }
  };
}

/** The options that take any file as a plain disk. */
const FORCED = '--flat --force';

/** @throws VmdkError VMDK_NOT_VMDK for a file that says itself that it is one, or an extent of one */
function assertNoVmdk(file: OpenedFile): void {
  try {
    findDescriptor(file);
  } catch (error) {
    if (!(error instanceof VmdkError)) throw error;
    if (error.code === 'VMDK_NOT_VMDK') return;
    throw notPlain(file.path, error.reason, FORCED);
  }
  throw notPlain(file.path, 'is a VMDK; open it without --flat', FORCED);
}

/**
 * Refuses to write to the data of a disk that has its descriptor: whoever goes by the CID of that, as
 * its children do, would not notice.
 *
 * @throws VmdkError VMDK_NOT_VMDK
 */
function assertUndescribed(path: string): void {
  const part = findDisk(path);
  // A descriptor of another name was put aside.
  if (part === undefined || !/\.vmdk$/i.test(part.image)) return;
  const what = `holds the data of the disk ${part.image}, whose CID would not change with it`;
  throw notPlain(path, `${what}; use that file, or only read this one with -o ro`, FORCED);
}

function notPlain(path: string, reason: string, way: string): VmdkError {
  const words = `${reason}, or take its bytes as a disk with ${way}`;
  return new RecognisedError('VMDK_NOT_VMDK', path, words);
}
