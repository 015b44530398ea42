/** The options of `npm run soak`. */
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export interface Options {
  /** At least; every disk has one turn, which takes some four minutes together. */
  readonly minutes: number;
  /** Absolute; where images and mounts go. */
  readonly folder: string;
}

/**
 * Parses the arguments. Paths are meant from where the user is: npm changes to the package's folder.
 *
 * @throws Error or TypeError for one that is not known or not valid
 */
export function parseOptions(
  args: readonly string[],
  here: string = process.env['INIT_CWD'] ?? process.cwd(),
): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '10' },
      folder: { type: 'string', default: tmpdir() },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes}: a number above 0 expected`);
  return { minutes, folder: resolve(here, values.folder) };
}
