/**
 * Mending that is cut off: after any number of writes the image is no worse than before, and mending
 * it again finishes. The host's calls are counted, and fail from the nth on.
 */
import { appendFileSync, cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { checkImageFile, contentOf, foundIn, repairImage, writeDisk } from '../helpers/checked.js';
import { writeCowdFile } from '../helpers/cowd-file.js';
import { pattern } from '../helpers/made-disk.js';
import { writeDescriptor } from '../helpers/images.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { writeSeSparseFile } from '../helpers/sesparse-file.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const host = vi.hoisted(() => ({ calls: [] as string[], allowed: Infinity }));

vi.mock('../../src/os/file-io.js', async (importOriginal) => {
  const actual = await importOriginal<typeof import('../../src/os/file-io.js')>();
  function counted<Args extends unknown[], Result>(
    name: string,
    call: (...args: Args) => Result,
  ): (...args: Args) => Result {
    return (...args) => {
      if (host.calls.length >= host.allowed) throw new Error('cut off');
      host.calls.push(name);
      return call(...args);
    };
  }
  return {
    ...actual,
    writeAt: counted('write', actual.writeAt),
    punchHole: counted('punch', actual.punchHole),
    syncData: counted('sync', actual.syncData),
  };
});

afterEach(() => {
  host.allowed = Infinity;
});

/** Makes an image with damage in `folder`; its extent lies in `extent.vmdk`. */
type Make = (folder: string) => void;

function hosted(folder: string): void {
  const file = join(folder, 'extent.vmdk');
  const image = join(folder, 'disk.vmdk');
  writeSparseFile(file, { sectors: 6144, grainSectors: 16, tableEntries: 128 });
  writeDescriptor(image, ['RW 6144 SPARSE "extent.vmdk"']);
  writeDisk(image, pattern(3 * 8192, 1), 0);
  writeDisk(image, pattern(8192, 2), 130 * 8192);
  // Not closed, entries bad in either table, a table gone, leaks between and behind the grains.
  appendFileSync(file, pattern(3 * 8192, 3));
  const pokes: readonly (readonly [number, number])[] = [
    [3072 + 4, 0],
    [1024 + 4, 0],
    [3072 + 8, 0x7fff0000],
    [1024, 0],
    [2560 + 4, 0x7fff0000],
    [512 + 8, 0],
  ];
  for (const [offset, value] of pokes) poke(file, offset, littleEndian(value, 4));
  poke(file, 72, Buffer.of(1));
}

const MAKES: readonly [string, Make][] = [
  ['hosted, tables to where they were', hosted],
  [
    'hosted, tables to the end of the file',
    (folder) => {
      hosted(folder);
      const file = join(folder, 'extent.vmdk');
      appendFileSync(file, peek(file, 3072, 512));
      appendFileSync(file, Buffer.alloc(8192 - 512));
      poke(file, 2560, littleEndian(128, 4));
    },
  ],
  [
    'COWD',
    (folder) => {
      const file = join(folder, 'extent.vmdk');
      writeCowdFile(file, {
        sectors: 8192,
        grains: new Map([0, 1, 5000].map((grain) => [grain, pattern(512, grain)])),
        freeSector: 4,
        uncleanShutdown: 1,
      });
      writeDescriptor(join(folder, 'disk.vmdk'), ['RW 8192 VMFSSPARSE "extent.vmdk"']);
    },
  ],
  [
    'seSparse',
    (folder) => {
      const file = join(folder, 'extent.vmdk');
      const places = writeSeSparseFile(file, {
        sectors: 65536,
        grains: new Map([0, 1, 4100].map((grain) => [grain, pattern(4096, grain)])),
      });
      poke(file, places.bitmapOffset, Buffer.of(0));
      poke(file, places.backmapOffset, Buffer.alloc(16, 0xff));
      poke(file, 520, littleEndian(0, 8));
      writeDescriptor(join(folder, 'disk.vmdk'), ['RW 65536 SESPARSE "extent.vmdk"']);
    },
  ],
];

/** How bad an image is: problems that are errors, and whether it opens. */
function stateOf(image: string): { errors: number; opens: boolean[] } {
  const errors = foundIn(checkImageFile(image)).filter(({ severity }) => severity === 'error');
  const opens = [true, false].map((readOnly) => {
    try {
      openImage(image, { readOnly }).device.close();
      return true;
    } catch {
      return false;
    }
  });
  return { errors: errors.length, opens };
}

describe.each(MAKES)('%s', (_name, make) => {
  test('cut off after any write, mending leaves the image no worse, and finishes when run again', () => {
    const origin = tempFolder();
    make(origin);
    const before = stateOf(join(origin, 'disk.vmdk'));
    const whole = tempFolder();
    cpSync(origin, whole, { recursive: true });
    host.calls.length = 0;
    expect(repairImage(join(whole, 'disk.vmdk')).problems.list).toEqual([]);
    const calls = [...host.calls];
    expect(calls.filter((call) => call !== 'sync').length).toBeGreaterThan(1);
    const wanted = contentOf(join(whole, 'disk.vmdk'));
    for (let allowed = 0; allowed < calls.length; allowed++) {
      const folder = tempFolder();
      cpSync(origin, folder, { recursive: true });
      const image = join(folder, 'disk.vmdk');
      host.calls.length = 0;
      host.allowed = allowed;
      expect(() => repairImage(image)).toThrow('cut off');
      host.allowed = Infinity;
      const after = stateOf(image);
      expect(after.errors).toBeLessThanOrEqual(before.errors);
      before.opens.forEach((didOpen, index) => {
        if (didOpen) expect(after.opens[index]).toBe(true);
      });
      // Leaks that a repair made are given back by the next.
      repairImage(image);
      expect(repairImage(image).problems.list).toEqual([]);
      expect(contentOf(image, false).equals(wanted)).toBe(true);
    }
  });

  test('what is led to is durable before what leads there, and the mark goes last', () => {
    const folder = tempFolder();
    make(folder);
    const file = join(folder, 'extent.vmdk');
    const marked = [72, 1648].map((offset) => peek(file, offset, 1)[0]);
    host.calls.length = 0;
    repairImage(join(folder, 'disk.vmdk'));
    expect(host.calls.at(-1)).toBe('sync');
    if (!marked.includes(1)) return;
    // The mark is one write between two barriers.
    expect(host.calls.slice(-3)).toEqual(['sync', 'write', 'sync']);
    expect([72, 1648].map((offset) => readFileSync(file)[offset])).toEqual([0, 0]);
  });
});
