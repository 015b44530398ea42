/** The files of a case. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { FuzzCase } from './cases.js';
import { applyEdits } from './edits.js';
import type { SeedFile } from './seed-files.js';
import type { Seed } from './seeds.js';

/** An image in a folder of its own. */
export interface Place {
  readonly folder: string;
  readonly image: string;
  readonly disk: string | undefined;
}

/** Makes the files of a case in `folder`, which is new; a link there leads out of it. */
export function makeImage(folder: string, fuzzed: FuzzCase, seeds: readonly Seed[]): Place {
  const seedOf = (name: string): Seed => {
    const seed = seeds.find((each) => each.name === name);
    if (seed === undefined) throw new Error(`no seed is called ${name}`);
    return seed;
  };
  const seed = seedOf(fuzzed.seed);
  mkdirSync(folder);
  for (const file of seed.files) file.writeTo(folder);
  symlinkSync('../outside/secret.raw', join(folder, 'link.raw'));
  applyEdits(folder, fuzzed.edits, (name): readonly SeedFile[] => seedOf(name).files);
  return { folder, image: join(folder, seed.image), disk: seed.disk };
}
