/** `vmdkfs map` and `vmdkfs diff` as they are called: exit codes and what they print. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { libcIfAny } from '../../src/os/libc.js';
import { writeDisk } from '../helpers/checked.js';
import { streamDisk } from '../helpers/delta-kinds.js';
import { pattern } from '../helpers/made-disk.js';
import { writeOva } from '../helpers/ova-file.js';
import { check, run, CLI, vmdkfs } from '../helpers/run.js';
import { isMissing } from '../helpers/requirements.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 64 * 1024;

// Without it nothing is discarded.
libcIfAny();

let folder: string;
let parent: string;
let child: string;

/** A disk of 16 grains: 1 and 2 in the parent, 2, 3 and 8 in the child, of which 8 was discarded. */
beforeEach(() => {
  folder = tempFolder();
  parent = join(folder, 'base.vmdk');
  child = join(folder, 'top.vmdk');
  createImage(parent, { size: 16 * GRAIN, backing: undefined });
  writeDisk(parent, pattern(2 * GRAIN, 1), GRAIN);
  createImage(child, { size: undefined, backing: parent });
  const { device } = openImage(child, { readOnly: false });
  device.write(pattern(2 * GRAIN, 2), 0, 2 * GRAIN, 2 * GRAIN);
  device.write(pattern(GRAIN, 3), 0, GRAIN, 8 * GRAIN);
  device.zero(8 * GRAIN, GRAIN);
  device.close();
});

/** What both commands do with what is no image of theirs. */
const FAILURES: readonly [what: string, code: number, words: string, make: () => string[]][] = [
  ['no such file', 4, 'no such file or directory', () => [join(folder, 'none.vmdk')]],
  [
    'no image',
    2,
    'is not a VMDK',
    () => {
      writeFileSync(join(folder, 'text'), 'no image\n');
      return [join(folder, 'text')];
    },
  ],
  [
    'a parent that was modified',
    2,
    'expects parent CID',
    () => {
      writeDisk(parent, pattern(512, 3), 0);
      return [child];
    },
  ],
  [
    'an OVA of which no disk was chosen',
    1,
    '--disk',
    () => {
      const bytes = readFileSync(streamDisk(folder, 'disk', 256).image);
      const ova = join(folder, 'two.ova');
      writeOva(ova, [
        { name: 'one.vmdk', bytes },
        { name: 'two.vmdk', bytes },
      ]);
      return [ova];
    },
  ],
  ['no argument', 1, 'missing required argument', () => []],
];

describe('vmdkfs map', () => {
  test('has a line for each stretch of data', async () => {
    const { code, stderr, stdout } = await vmdkfs('map', child);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [heading, ...lines] = stdout.trimEnd().split('\n');
    expect(heading).toBe('Offset          Length          Mapped to       File');
    expect(lines.map((line) => line.split(/ +/))).toEqual([
      ['0x10000', '0x10000', '0x10000', parent],
      ['0x20000', '0x20000', '0x10000', child],
    ]);
  });

  test.skipIf(isMissing('the table of qemu-img map', 'qemu'))('is the table of QEMU', async () => {
    const theirs = await check('qemu-img', 'map', '-f', 'vmdk', child);
    // A discarded grain counts as data there, and files are named as the descriptor does.
    const wanted = theirs
      .split('\n')
      .filter((line) => !line.startsWith('0x80000'))
      .map((line) => line.replace(/\S+$/, (name) => name.split('/').at(-1) ?? ''));
    const { stdout } = await vmdkfs('map', child);
    expect(stdout.split('\n').map((line) => line.replaceAll(`${folder}/`, ''))).toEqual(wanted);
  });

  test('--json has all of the disk', async () => {
    const { code, stderr, stdout } = await vmdkfs('map', child, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const nothing = { depth: 1, present: false, zero: true, data: false, compressed: false };
    const data = { present: true, zero: false, data: true, compressed: false };
    const [first, second, third, fourth, discarded, last] = JSON.parse(stdout) as unknown[];
    expect(first).toEqual({ start: 0, length: GRAIN, ...nothing });
    const inParent = { depth: 1, ...data, file: parent, offset: GRAIN };
    expect(second).toEqual({ start: GRAIN, length: GRAIN, ...inParent });
    const inChild = { depth: 0, file: child, offset: GRAIN };
    expect(third).toEqual({ start: 2 * GRAIN, length: 2 * GRAIN, ...data, ...inChild });
    expect(fourth).toEqual({ start: 4 * GRAIN, length: 4 * GRAIN, ...nothing });
    const zeros = { present: true, zero: true, data: false, compressed: false };
    const place = { depth: 0, file: child, offset: 3 * GRAIN };
    expect(discarded).toEqual({ start: 8 * GRAIN, length: GRAIN, ...zeros, ...place });
    expect(last).toEqual({ start: 9 * GRAIN, length: 7 * GRAIN, ...nothing });
  });

  test('compressed grains have no place', async () => {
    const { image } = streamDisk(folder, 'stream', 1280);
    const { code, stdout } = await vmdkfs('map', image);
    expect(code).toBe(0);
    expect(stdout.split('\n')[1]).toBe('0x0             0x10000         compressed');
    const [grain] = JSON.parse((await vmdkfs('map', image, '--json')).stdout) as unknown[];
    expect(grain).toEqual({
      start: 0,
      length: GRAIN,
      depth: 0,
      present: true,
      zero: false,
      data: true,
      compressed: true,
    });
  });

  test.each(FAILURES)('fails for %s', async (_what, code, words, make) => {
    const outcome = await vmdkfs('map', ...make());
    expect(outcome).toMatchObject({ code, stdout: '' });
    expect(outcome.stderr).toContain(words);
  });
});

describe('vmdkfs diff', () => {
  test('lists what the child holds, and sums it up', async () => {
    expect(await vmdkfs('diff', child)).toEqual({
      code: 0,
      stderr: '',
      stdout: [
        'Offset          Length          Kind',
        '0x20000         0x20000         data',
        '0x80000         0x10000         zero',
        `${child}: holds 128 KiB (131072 bytes) of data and 64 KiB (65536 bytes) of zeros over ${parent}`,
        '',
      ].join('\n'),
    });
  });

  test('--json has the same', async () => {
    const { code, stderr, stdout } = await vmdkfs('diff', child, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      image: child,
      parent,
      size: 16 * GRAIN,
      dataBytes: 2 * GRAIN,
      zeroBytes: GRAIN,
      ranges: [
        { start: 2 * GRAIN, length: 2 * GRAIN, kind: 'data' },
        { start: 8 * GRAIN, length: GRAIN, kind: 'zero' },
      ],
    });
  });

  test('says of an empty child that it is one', async () => {
    const empty = join(folder, 'empty.vmdk');
    createImage(empty, { size: undefined, backing: child });
    expect(await vmdkfs('diff', empty)).toEqual({
      code: 0,
      stderr: '',
      stdout: `${empty}: holds nothing that ${child} does not\n`,
    });
  });

  test('has a notice for a modified parent that is allowed, but not with --quiet', async () => {
    writeDisk(parent, pattern(512, 3), 0);
    const loud = await vmdkfs('diff', child, '--force');
    expect(loud.code).toBe(0);
    expect(loud.stderr).toContain('going on all the same');
    const quiet = await vmdkfs('diff', child, '--force', '--quiet');
    expect(quiet).toEqual({ code: 0, stderr: '', stdout: loud.stdout });
  });

  test('fails for an image without a parent', async () => {
    expect(await vmdkfs('diff', parent)).toEqual({
      code: 1,
      stdout: '',
      stderr: `vmdkfs: ${parent}: has no parent; a child that holds only what differs is made with vmdkfs create --backing\n`,
    });
  });

  test.each(FAILURES)('fails for %s', async (_what, code, words, make) => {
    const outcome = await vmdkfs('diff', ...make());
    expect(outcome).toMatchObject({ code, stdout: '' });
    expect(outcome.stderr).toContain(words);
  });

  test('ends quietly when nobody reads on', async () => {
    const line = `'${process.execPath}' '${CLI}' map '${child}' --json | head -c 1`;
    const { stderr } = await run('sh', ['-c', line]);
    expect(stderr).toBe('');
  });
});
