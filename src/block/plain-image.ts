/** A plain file as a disk: its bytes are the disk's, with no descriptor anywhere. */
import { alignUp } from '../binary/alignment.js';
import { SECTOR_BYTES } from '../vmdk/limits.js';
import type { ImageDescription } from './attach-image.js';
import { newLayerState } from './layer-state.js';
import type { OpenedFile } from './opened-files.js';

/**
 * Describes the disk that is `file`: of its length, rounded up to a sector. What the file does not
 * have of its last sector reads as zeros.
 */
export function plainImage(file: OpenedFile, readOnly: boolean): ImageDescription {
  const { path } = file;
  const size = alignUp(file.length, SECTOR_BYTES);
  const dirty = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const layer = {
    path,
    size,
    readOnly,
    extents: [{ kind: 'flat', start: 0, size, file, fileOffset: 0, dirty } as const],
    protection: [readOnly ? 'a plain file that is only read' : undefined],
    state: newLayerState(),
    descriptor: { file, isOwnFile: false },
    firstWrites: [],
    watched: [],
  };
  return { layers: [layer], owners: undefined };
}
