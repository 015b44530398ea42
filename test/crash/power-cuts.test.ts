import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { isMissing } from '../helpers/requirements.js';
import { run } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { TINY_DISKS } from './tiny-disks.js';
import { CrashRun } from './crash-run.js';
import { memoryFiles } from './memory-host.js';

vi.mock('node:fs', async (original) => {
  const { fsInMemory } = await import('./memory-host.js');
  return fsInMemory(await original());
});
vi.mock('../../src/os/file-io.js', async (original) => {
  const { fileIoInMemory } = await import('./memory-host.js');
  return fileIoInMemory(await original());
});

/** States of all disks together; the disks have equal shares. */
const STATES = Number(process.env['VMDKFS_CRASH_STATES'] ?? 12_000);

/** How many of them QEMU is asked about, for each disk that it opens. */
const QEMU_STATES = Math.min(40, Math.ceil(STATES / 3000));

let states = 0;
let again = 0;
let wrong = 0;

describe('a power cut at any moment leaves a disk that is sound and holds what was flushed', () => {
  afterAll(() => {
    const of = `${states} crash states, ${again} of them after a crash before`;
    console.log(`${of}, ${wrong === 0 ? 'none' : wrong} wrong`);
  });

  test.each(TINY_DISKS.map((make) => make()))('$name', async (disk) => {
    const folder = tempFolder();
    const images: string[] = [];
    const isForQemu = disk.isForQemu && !isMissing(`qemu-img check, ${disk.name}`, 'qemu');
    const crashes = new CrashRun({
      sample: () => {
        if (!isForQemu || images.length >= QEMU_STATES) return;
        const copy = join(folder, String(images.length));
        mkdirSync(copy);
        for (const { content, path } of memoryFiles()) {
          writeFileSync(join(copy, basename(path)), content);
        }
        images.push(join(copy, disk.image));
      },
    });
    crashes.run(disk, STATES / TINY_DISKS.length);
    const { counts } = crashes;
    states += counts.states;
    again += counts.statesAgain;
    wrong += counts.violationCount;
    expect(counts.violations).toEqual([]);
    for (const image of images) {
      const { code, stderr, stdout } = await run('qemu-img', ['check', '-f', 'vmdk', image]);
      expect({ code, stderr, stdout }).toMatchObject({ code: 0, stderr: '' });
    }
  });
});
