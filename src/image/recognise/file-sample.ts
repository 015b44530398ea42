/** The beginning and the end of a file: all that is looked at to tell what it is. */
import { readBytes } from '../../block/find-descriptor.js';
import { OpenedFiles, type OpenedFile } from '../../block/opened-files.js';

/** Bytes that are read at either end. */
const SAMPLE_BYTES = 64 * 1024;

/** A part of a file. */
export interface FileSample {
  readonly path: string;
  /** Bytes of the whole file. */
  readonly length: number;
  readonly head: Buffer;
  readonly tail: Buffer;
}

/** The sample of a file that is open. */
export function sampleOf(file: OpenedFile): FileSample {
  const { length, path } = file;
  const bytes = Math.min(length, SAMPLE_BYTES);
  const head = readBytes(file, 0, bytes);
  return { path, length, head, tail: readBytes(file, length - bytes, bytes) };
}

/**
 * The sample of the regular file `path`, which is not locked.
 *
 * @throws VmdkError VMDK_NOT_A_FILE; the system's error
 */
export function sampleAt(path: string): FileSample {
  const files = new OpenedFiles();
  try {
    return sampleOf(files.open(path));
  } finally {
    files.closeAll();
  }
}
