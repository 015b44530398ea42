/** Random operations on images of every make through an overlay; the images stay as they are. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openOverlaid, type OverlayPlace } from '../../src/block/overlay.js';
import { streamDisk } from '../helpers/delta-kinds.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { hashes } from '../helpers/hashes.js';
import { writeOva } from '../helpers/ova-file.js';
import { DiskModel, operation } from './disk-model.js';

const RUNS = Number(process.env['VMDKFS_MODEL_RUNS'] ?? 60);

interface Kind {
  readonly name: string;
  readonly isLarge?: true;
  readonly make: (folder: string) => { readonly image: string; readonly content: Buffer };
}

/** What can be read but not written. */
const READ_ONLY_KINDS: readonly Kind[] = [
  { name: 'streamOptimized', make: (folder) => streamDisk(folder, 'disk', 2001) },
  {
    name: 'a streamOptimized disk inside an OVA',
    make: (folder) => {
      const { content, image: stream } = streamDisk(folder, 'disk', 3000);
      const image = join(folder, 'appliance.ova');
      writeOva(image, [{ name: basename(stream), bytes: readFileSync(stream) }]);
      return { image, content };
    },
  },
];

/** Runs random operations on `kind` through the overlay that `place` gives for a folder. */
function tryKind(kind: Kind, place: (folder: string) => OverlayPlace, runs: number): void {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 25 }), (steps) => {
      const [folder, beside] = ['model', 'overlay'].map((name) =>
        mkdtempSync(join(tmpdir(), `vmdkfs-${name}-`)),
      ) as [string, string];
      try {
        const { content, image } = kind.make(folder);
        const files = readdirSync(folder).map((name) => join(folder, name));
        const before = hashes(files);
        const overlay = place(beside);
        const sparseFiles = overlay.kind === 'file' ? [overlay.path] : [];
        const kept =
          overlay.kind === 'file' ? steps : steps.filter((step) => step.kind !== 'reopen');
        const model = new DiskModel({ content, sparseFiles }, () => {
          return openOverlaid(image, { readOnly: false, lock: true }, overlay).image.device;
        });
        for (const step of kept) model.apply(step);
        if (overlay.kind === 'file') model.finish();
        else model.finishOnce();
        expect(readdirSync(folder).map((name) => join(folder, name))).toEqual(files);
        expect(hashes(files)).toEqual(before);
        expect(readdirSync(beside)).toEqual(overlay.kind === 'file' ? ['overlay.vmdk'] : []);
      } finally {
        for (const each of [folder, beside]) rmSync(each, { recursive: true, force: true });
      }
    }),
    { numRuns: Math.ceil(runs / (kind.isLarge === true ? 5 : 1)) },
  );
}

describe('random operations through an overlay are those on a plain array', () => {
  const kinds: readonly Kind[] = [...DISK_KINDS, ...READ_ONLY_KINDS];

  test.each(kinds)('over $name', (kind) => {
    tryKind(kind, (folder) => ({ kind: 'file', path: join(folder, 'overlay.vmdk') }), RUNS / 6);
  });

  test.each(kinds)('in a snapshot over $name', (kind) => {
    tryKind(kind, (folder) => ({ kind: 'snapshot', folder }), RUNS / 20);
  });
});
