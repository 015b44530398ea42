import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { listDisks } from '../../src/block/open-image.js';
import { writeOva } from '../helpers/ova-file.js';
import { peek, poke } from '../helpers/poke.js';
import { refusal } from '../helpers/refusal.js';
import { tempFolder } from '../helpers/temp-folder.js';

const BLOCK = 512;

let archive: string;

beforeEach(() => {
  archive = join(tempFolder(), 'disk.ova');
  const bytes = Buffer.alloc(BLOCK, 0x41);
  writeOva(archive, [
    { name: 'a.ovf', bytes },
    { name: 'disk.vmdk', bytes },
  ]);
});

/** Pokes `bytes` into the header at `header` and puts its checksum right. */
function pokeHeader(header: number, offset: number, bytes: Buffer): void {
  poke(archive, header + offset, bytes);
  poke(archive, header + 148, Buffer.alloc(8, ' '));
  const sum = peek(archive, header, BLOCK).reduce((total, byte) => total + byte, 0);
  poke(archive, header + 148, Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `));
}

/** Where numbers lie in a header: mode, owner, group, size, time; the first and the second member's. */
const PLACES = [0, 2 * BLOCK].flatMap((header) =>
  [100, 108, 116, 124, 136].map((offset): [number, number] => [header, offset]),
);

describe('numbers in headers of an archive', () => {
  test.each(PLACES)('in the header at %i, one at %i in no known base is refused', (header, at) => {
    pokeHeader(header, at, Buffer.from([0x90, 0, 0, 0, 0, 0, 0, 1]));
    expect(refusal(archive, true)).toMatchObject({ code: 'VMDK_BAD_ARCHIVE' });
    expect(() => listDisks(archive)).toThrow(/damaged/);
  });

  test.each([
    ['2^88 - 1', 0x80, 0xff],
    ['-2^80', 0xff, 0],
  ])('a size of %s is refused', (_name, first, others) => {
    pokeHeader(2 * BLOCK, 124, Buffer.from([first, ...Array.from({ length: 11 }, () => others)]));
    expect(refusal(archive, true)).toMatchObject({ code: 'VMDK_BAD_ARCHIVE' });
  });
});
