/**
 * Commands that only look at an image, while another program writes to it: what it adds lies behind
 * the end of the file as it was seen first. A tracer stops each command in between.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import type { Subformat } from '../../src/vmdk/subformat.js';
import { beforeLock, holdCommand, type HoldPoint } from '../helpers/held-command.js';
import { pattern } from '../helpers/made-disk.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { isMissing } from '../helpers/requirements.js';
import { vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const BLOCK = 4096;

/** Fields of a sparse header, bytes. */
const RGD_OFFSET = 48;
const GD_OFFSET = 56;

/** Each with the end of its extent's name. */
const SUBFORMATS: readonly (readonly [subformat: Subformat, extent: string])[] = [
  ['monolithicSparse', 'disk.vmdk'],
  ['twoGbMaxExtentSparse', '-s001.vmdk'],
  ['vmfsSparse', '-delta.vmdk'],
  ['seSparse', '-sesparse.vmdk'],
];

/** A child that this process has open for writing, with a grain in it. */
function openChild(subformat: Subformat): {
  readonly folder: string;
  readonly image: string;
  readonly write: (offset: number, count: number) => void;
} {
  const folder = tempFolder();
  const base = join(folder, 'base.vmdk');
  createImage(base, { size: 64 * 1024 * 1024, backing: undefined, subformat });
  const image = join(folder, 'disk.vmdk');
  createImage(image, { size: undefined, backing: base, subformat });
  const { device } = openImage(image, { readOnly: false, lock: true });
  onTestFinished(() => {
    device.close();
  });
  const write = (offset: number, count: number): void => {
    for (let index = 0; index < count; index++) {
      device.write(pattern(BLOCK, index), 0, BLOCK, offset + index * 64 * 1024);
    }
    device.flush();
  };
  write(0, 1);
  return { folder, image, write };
}

/** Where `command` knows how long the extent is, and has not read its tables. */
function pointOf(command: string, folder: string, image: string, extent: string): HoldPoint {
  if (command !== 'info') return beforeLock(image);
  const name = readdirSync(folder).find((each) => each.startsWith('disk') && each.endsWith(extent));
  // The image file itself is looked at twice before, for what it is.
  const count = extent === 'disk.vmdk' ? 3 : 1;
  return { call: 'pread64', path: join(folder, name ?? ''), count };
}

describe.skipIf(isMissing('images that are written to', 'strace'))('while it is written to', () => {
  test.each(SUBFORMATS)('%s is shown as it is, and as in use', async (subformat, extent) => {
    const { folder, image, write } = openChild(subformat);
    const notice = `vmdkfs: ${image}: another program writes to it; what is shown may change\n`;
    for (const [index, command] of ['info', 'map', 'diff'].entries()) {
      const point = pointOf(command, folder, image, extent);
      const { outcome, release } = await holdCommand(point, [command, image]);
      write((index + 1) * 8 * 1024 * 1024, 64);
      release();
      const { code, stderr, stdout } = await outcome;
      expect(`${command} ${code} ${stderr}`).toBe(
        `${command} 0 ${command === 'info' ? '' : notice}`,
      );
      if (command === 'info') expect(stdout).toContain('has it open for writing');
    }
  });

  test('what stays damaged is said to be in use', async () => {
    const { image } = openChild('monolithicSparse');
    // The first entry of both directories leads far behind the end of the file.
    for (const field of [RGD_OFFSET, GD_OFFSET]) {
      const directory = Number(peek(image, field, 8).readBigUInt64LE()) * 512;
      poke(image, directory, littleEndian(0x7fff_ffff, 4));
    }
    const { code, stderr } = await vmdkfs('map', image);
    expect(stderr).toContain(`${image}: another program writes to it, and it looks damaged`);
    expect(code).toBe(6);
  });
});
