/** Compacting a flat extent: stretches of zeros that take space on the host become holes. */
import { isZeroInFile, type ExtentCompaction } from './extent-compaction.js';

/** Zeros are looked for in units of this; smaller holes make files slow and save little. */
const UNIT_BYTES = 64 * 1024;

/** Compacts the extent, which begins at `fileOffset` of its file; bytes. */
export function compactFlat(compaction: ExtentCompaction, fileOffset: number): void {
  const { file, progress, size } = compaction;
  const end = fileOffset + size;
  let hasChanged = false;
  for (let at = file.nextData(fileOffset, end); at < end; at = file.nextData(at, end)) {
    progress((at - fileOffset) / size);
    let run = 0;
    for (;;) {
      const length = Math.min(UNIT_BYTES, end - at - run);
      if (length === 0 || !isZeroInFile(file, at + run, length)) break;
      run += length;
      if (run >= UNIT_BYTES && file.nextData(at + run, end) > at + run) break;
    }
    if (run === 0) {
      at += Math.min(UNIT_BYTES, end - at);
      continue;
    }
    // A crash leaves zeros or a hole, which is the same to everybody.
    hasChanged = file.punch(at, run) || hasChanged;
    at += run;
  }
  if (hasChanged) file.sync();
}
