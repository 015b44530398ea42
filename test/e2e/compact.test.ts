/** `vmdkfs compact`: what it says, its exit codes, and that it leaves alone what it refuses. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { contentOf, writeDisk } from '../helpers/checked.js';
import { pattern } from '../helpers/made-disk.js';
import { vmdkfs } from '../helpers/run.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

let image: string;
let content: Buffer;

beforeEach(() => {
  image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: 8 * MIB, backing: undefined });
  content = pattern(8 * MIB, 3);
  writeDisk(image, content, 0);
  content.fill(0, 0, 6 * MIB);
  writeDisk(image, content.subarray(0, 6 * MIB), 0);
});

/** Fails with `code` and one line, and leaves the image as it is. */
async function expectRefusal(args: readonly string[], code: number, line: RegExp): Promise<void> {
  const before = readFileSync(image);
  const outcome = await vmdkfs('compact', ...args);
  expect(outcome).toEqual({ code, stdout: '', stderr: expect.stringMatching(line) as string });
  expect(outcome.stderr).toMatch(/^vmdkfs: [^\n]+\n$/);
  expect(readFileSync(image).equals(before)).toBe(true);
}

describe('compact', () => {
  test('says what it saved', async () => {
    const outcome = await vmdkfs('compact', image);
    expect(outcome).toEqual({
      code: 0,
      stdout: `${image}: 6 MiB (6291456 bytes) saved, ${sizeLeft()} left on the host\n`,
      stderr: '',
    });
    expect(statSync(image).size).toBeLessThan(2.2 * MIB);
    expect(contentOf(image).equals(content)).toBe(true);
  });

  function sizeLeft(): string {
    const bytes = statSync(image).blocks * 512;
    return `${Number((bytes / MIB).toPrecision(4))} MiB (${bytes} bytes)`;
  }

  test('says it in JSON, and that there is nothing left to save', async () => {
    const before = statSync(image).blocks * 512;
    const { code, stderr, stdout } = await vmdkfs('compact', image, '--json', '-q');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const after = statSync(image).blocks * 512;
    expect(JSON.parse(stdout)).toEqual({
      image,
      before,
      after,
      saved: before - after,
      files: [{ path: image, before, after }],
    });
    expect(before - after).toBe(6 * MIB);
    expect((await vmdkfs('compact', image)).stdout).toContain(': 0 bytes saved, ');
  });

  test('refuses with 1, 2, 4 and 6', async () => {
    await expectRefusal([image, '--frob'], 1, /unknown option '--frob'/);
    const stream = `${image}.stream`;
    makeStream(stream, { family: 'footer', sectors: 300, grains: new Map([[0, pattern(5, 1)]]) });
    await expectRefusal([stream], 2, /streamOptimized.*vmdkfs convert/);
    writeFileSync(stream, 'nothing of the kind');
    await expectRefusal([stream], 2, /is not a VMDK/);
    await expectRefusal([`${image}.none`], 4, /no such file or directory/);
    const { device } = openImage(image, { readOnly: true, lock: true });
    try {
      await expectRefusal([image], 6, /in use by another program/);
    } finally {
      device.close();
    }
    // Not closed: what the copies of tables say may differ.
    const bytes = readFileSync(image);
    bytes[72] = 1;
    writeFileSync(image, bytes);
    await expectRefusal([image], 2, /was not closed cleanly; mend it first/);
    expect((await vmdkfs('check', image, '--repair')).code).toBe(0);
    expect((await vmdkfs('compact', image, '--no-lock')).code).toBe(0);
    expect(contentOf(image).equals(content)).toBe(true);
  });
});
