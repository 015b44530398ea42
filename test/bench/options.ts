/** The options of `npm run bench`. */
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/cli/size.js';

/** What to measure. */
export interface Options {
  readonly runs: number;
  /** Measure the jobs whose name contains it. */
  readonly only: string;
  /** Absolute; where images and mounts go. */
  readonly folder: string;
  /** Size of the disks. */
  readonly bytes: number;
  /** How long jobs run that time ends. */
  readonly seconds: number;
  /** Source of the floor server, absolute. */
  readonly floor: string | undefined;
  /** Whether to put the table into the note. */
  readonly write: boolean;
}

/** Blocks of 1 MiB make up a disk. */
const SIZE_UNIT = 1024 * 1024;

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
      runs: { type: 'string', default: '5' },
      only: { type: 'string', default: '' },
      folder: { type: 'string', default: tmpdir() },
      size: { type: 'string', default: '2G' },
      runtime: { type: 'string', default: '4' },
      floor: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  });
  const bytes = parseSize(values.size);
  if (bytes % SIZE_UNIT !== 0) throw new Error('--size: not a number of whole MiB');
  return {
    runs: positive('--runs', values.runs, Number.isSafeInteger),
    only: values.only,
    folder: resolve(here, values.folder),
    bytes,
    seconds: positive('--runtime', values.runtime, Number.isFinite),
    floor: values.floor === undefined ? undefined : resolve(here, values.floor),
    write: values.write,
  };
}

function positive(name: string, text: string, isValid: (value: number) => boolean): number {
  const value = Number(text);
  if (isValid(value) && value > 0) return value;
  throw new Error(`${name}: ${JSON.stringify(text)} is not a number above 0 that fits`);
}
