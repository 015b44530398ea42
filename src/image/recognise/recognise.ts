/** What a file is when it is no VMDK: by its beginning and its end, never by guessing. */
import { basename } from 'node:path';
import type { FileSample } from './file-sample.js';
import type { Finding } from './finding.js';
import { CHANGE_TRACKING, findSignature } from './signatures.js';
import { isTarHeader } from './tar-header.js';
import { findText } from './text-kinds.js';

/**
 * What `sample` is taken from; undefined where nothing says so.
 *
 * @returns a finding that `isPlainDisk` where the bytes of the file are those of a disk
 */
export function recognise(sample: FileSample): Finding | undefined {
  if (sample.length === 0) return { what: 'empty', advice: 'copy or download it again' };
  if (isTarHeader(sample.head)) {
    return { what: 'a tar archive', advice: 'unpack it with tar -xf first' };
  }
  return findSignature(sample) ?? findText(sample);
}

/** Whether a file is one in which ESX keeps which blocks of a disk have changed. */
export function isChangeTracking({ head, path }: FileSample): boolean {
  const magic = head.toString('latin1', 0, 4);
  return CHANGE_TRACKING.includes(magic) || /-ctk\.vmdk$/i.test(basename(path));
}
