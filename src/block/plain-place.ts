/**
 * A file without a descriptor that is opened as one all the same: its bytes are the disk's, as if a
 * descriptor beside it named it as a flat extent. Nothing but the disk's data is ever written to it.
 */
import { basename } from 'node:path';
import { bytesOfPath } from '../binary/path-text.js';
import { parseDescriptor } from '../vmdk/descriptor.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import { VmdkError } from '../vmdk/vmdk-error.js';
import type { DescriptorPlace } from './find-descriptor.js';
import type { OpenedFile } from './opened-files.js';

/** What such a disk is called where others have their subformat. */
const CREATE_TYPE = 'flat';

/**
 * The descriptor that `file` would have.
 *
 * @throws VmdkError VMDK_TRUNCATED, VMDK_BAD_CAPACITY for a file that is no whole number of sectors
 */
export function plainPlace(file: OpenedFile): DescriptorPlace {
  const { length, path } = file;
  if (length === 0) {
    throw new VmdkError('VMDK_TRUNCATED', path, 'is empty; copy or download it again');
  }
  if (length % SECTOR_BYTES !== 0) {
    const full = `${length} bytes, which is not a multiple of ${SECTOR_BYTES}`;
    throw new VmdkError(
      'VMDK_BAD_CAPACITY',
      path,
      `has ${full}, so it is cut off or no disk; copy it again, or make it longer with truncate -s %${SECTOR_BYTES}`,
    );
  }
  const text = `createType="${CREATE_TYPE}"\nRW ${length / SECTOR_BYTES} FLAT "disk" 0\n`;
  const descriptor = parseDescriptor(text, path);
  // Names in a descriptor are bytes, a character each; some cannot stand in the text of one.
  const fileName = bytesOfPath(basename(path)).toString('latin1');
  const extents = descriptor.extents.map((line) => ({ ...line, fileName }));
  return {
    file,
    offset: 0,
    room: 0,
    descriptor: { ...descriptor, extents },
    embeddedIn: undefined,
  };
}
