/** Any sparse extent checked by the inspector of its own format. */
import { inspectCowdFile } from './cowd-file.js';
import { peek } from './poke.js';
import { inspectSeSparseFile } from './sesparse-file.js';
import { inspectSparseFile } from './sparse-file.js';

/** What is the same for all formats. */
export interface ExtentFacts {
  /** 0 where the extent was closed, also where its format cannot say that it was not. */
  readonly uncleanShutdown: number;
  /** Everything that is wrong, in words. */
  readonly problems: readonly string[];
}

/** Reads an extent's tables and checks them as another program would; the file says what it is. */
export function inspectExtentFile(path: string): ExtentFacts {
  const magic = peek(path, 0, 4).toString('latin1');
  if (magic === 'KDMV') return inspectSparseFile(path);
  if (magic === 'COWD') return inspectCowdFile(path);
  const { entries, grainsInUse, problems } = inspectSeSparseFile(path);
  const allocated = entries.filter((entry) => entry >> 60n === 3n).length;
  const counts =
    grainsInUse === allocated ? [] : [`the bitmap has ${grainsInUse} grains, tables ${allocated}`];
  return { uncleanShutdown: 0, problems: [...problems, ...counts] };
}
