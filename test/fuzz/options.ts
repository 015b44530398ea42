/** The options of `npm run fuzz`. */
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export interface Options {
  readonly minutes: number;
  /** The number of the first case; the others follow. */
  readonly seed: number;
  /** Cases tried at most. */
  readonly cases: number;
  /** Processes that try cases. */
  readonly workers: number;
  /** Where images are made, absolute; better in memory. */
  readonly folder: string;
  /** A file with a case to try alone. */
  readonly replay: string | undefined;
}

/**
 * Parses the arguments; paths are meant from where the user is.
 *
 * @throws Error for one that is not known or not valid
 */
export function parseOptions(
  args: readonly string[],
  here: string = process.env['INIT_CWD'] ?? process.cwd(),
): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
      cases: { type: 'string', default: 'Infinity' },
      workers: { type: 'string', default: '1' },
      folder: { type: 'string', default: fastFolder() },
      replay: { type: 'string' },
    },
  });
  return {
    minutes: positive('--minutes', values.minutes),
    seed: whole('--seed', values.seed),
    cases: positive('--cases', values.cases),
    workers: whole('--workers', values.workers),
    folder: resolve(here, values.folder),
    replay: values.replay === undefined ? undefined : resolve(here, values.replay),
  };
}

/** Files in memory need no wait for a disk with each flush. */
function fastFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0) return value;
  throw new Error(`${name}: ${JSON.stringify(text)} is not a number above 0`);
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`${name}: ${JSON.stringify(text)} is not a whole number`);
}
