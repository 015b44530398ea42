/**
 * What happens to a mount while its server still looks whether it answers. The server looks with
 * `stat`: here that is a script which waits until the test lets it go on.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { newImage } from '../helpers/images.js';
import { isMountedAt } from '../helpers/mounted.js';
import { processesWith } from '../helpers/processes.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, vmdkfs } from '../helpers/run.js';
import { inspectSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until, within } from '../helpers/until.js';

const LATE_MS = 60_000;

vi.setConfig({ testTimeout: 240_000 });

interface Starting {
  readonly mountpoint: string;
  readonly disk: string;
  readonly child: ChildProcess;
  /** Exit code, or the signal, and what was said on stderr. */
  readonly ended: Promise<{ end: number | string; stderr: string }>;
  /** Lets the server see how its mount looks. */
  readonly look: () => void;
}

/** `vmdkfs mount` with `args` whose server looks at its mount; `disk.raw` is there. */
async function starting(image: string, ...args: readonly string[]): Promise<Starting> {
  const folder = tempFolder();
  const [mountpoint, programs] = [join(folder, 'mnt'), join(folder, 'programs')];
  mkdirSync(mountpoint);
  mkdirSync(programs);
  const script = [
    '#!/bin/sh',
    `touch '${folder}/looking'`,
    `while [ ! -e '${folder}/go' ] && grep -q ' ${mountpoint} ' /proc/self/mounts; do sleep 0.05; done`,
    `while [ -e '${folder}/hang' ] && [ -d "/proc/$PPID" ]; do sleep 0.05; done`,
    'exec /usr/bin/stat "$@"',
  ];
  writeFileSync(join(programs, 'stat'), `${script.join('\n')}\n`);
  chmodSync(join(programs, 'stat'), 0o755);
  const env = { ...process.env, PATH: `${programs}:${process.env['PATH'] ?? ''}` };
  const child = spawn(process.execPath, [CLI, 'mount', image, mountpoint, ...args], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = once(child, 'close').then(([code, signal]) => ({
    end: (signal ?? code) as number | string,
    stderr,
  }));
  onTestFinished(async () => {
    writeFileSync(join(folder, 'go'), '');
    if (isMountedAt(mountpoint)) await run('fusermount3', ['-q', '-u', '-z', '--', mountpoint]);
    child.kill('SIGKILL');
    await until('no server is left', LATE_MS, () => processesWith(mountpoint).length === 0);
  });
  await until('the server looks', LATE_MS, () => existsSync(join(folder, 'looking')));
  const disk = join(mountpoint, 'disk.raw');
  await stat(disk);
  return {
    ...{ mountpoint, disk, child, ended },
    look: () => {
      writeFileSync(join(folder, 'go'), '');
    },
  };
}

const FOREGROUND = [
  ['kernel', ['-f']],
  ['libfuse', ['-f', '--transport', 'libfuse']],
] as const;

describe.skipIf(isMissing('starts', 'fuse'))('a mount whose server still looks at it', () => {
  test.each(FOREGROUND)('over %s ends cleanly where it is unmounted', async (_name, args) => {
    const image = await newImage('4M');
    const { ended, look, mountpoint } = await starting(image, ...args);
    await check('fusermount3', '-u', '--', mountpoint);
    look();
    expect(await within('the server has ended', LATE_MS, ended)).toEqual({
      end: 0,
      stderr: `vmdkfs: ${mountpoint}: somebody has unmounted it already, or mounted something over it\n`,
    });
    expect(isMountedAt(mountpoint)).toBe(false);
    expect(await vmdkfs('check', image)).toMatchObject({ code: 0 });
  });

  test('in the background ends cleanly too', async () => {
    const image = await newImage('4M');
    const { ended, look, mountpoint } = await starting(image);
    await check('fusermount3', '-u', '--', mountpoint);
    look();
    expect(await within('the command has ended', LATE_MS, ended)).toMatchObject({ end: 0 });
    await until('the server has ended', LATE_MS, () => processesWith(mountpoint).length === 0);
  });

  test('is served to its last user where it is detached', async () => {
    const image = await newImage('4M');
    const { disk, ended, look, mountpoint } = await starting(image, '-f');
    const handle = await open(disk, 'r+');
    await check('fusermount3', '-u', '-z', '--', mountpoint);
    look();
    await handle.write(Buffer.alloc(65536, 7), 0, 65536, 0);
    await handle.close();
    expect(await within('the server has ended', LATE_MS, ended)).toMatchObject({ end: 0 });
    const { entries, problems, uncleanShutdown } = inspectSparseFile(image);
    expect([problems, uncleanShutdown]).toEqual([[], 0]);
    expect(entries.filter((entry) => entry > 1)).toHaveLength(1);
  });

  test('is unmounted by vmdkfs, which waits until the image is closed', async () => {
    const image = await newImage('4M');
    const { ended, look, mountpoint } = await starting(image, '-f');
    const { code } = await vmdkfs('unmount', mountpoint);
    expect(code).toBe(0);
    look();
    expect(await within('the server has ended', LATE_MS, ended)).toMatchObject({ end: 0 });
  });
});

describe.skipIf(isMissing('starts that hang', 'fuse'))('a start that hangs', () => {
  test('is a mount like any other for who uses it: a signal detaches it, and all is kept', async () => {
    const image = await newImage('4M');
    const { child, disk, ended, mountpoint } = await starting(image, '-f');
    const handle = await open(disk, 'r+');
    writeFileSync(join(mountpoint, '..', 'hang'), '');
    await handle.write(Buffer.alloc(65536, 7), 0, 65536, 0);
    child.kill('SIGTERM');
    await until('it is detached', LATE_MS, () => !isMountedAt(mountpoint));
    await handle.write(Buffer.alloc(65536, 8), 0, 65536, 65536);
    await handle.close();
    expect(await within('the server has ended', LATE_MS, ended)).toMatchObject({ end: 0 });
    const { entries, problems, uncleanShutdown } = inspectSparseFile(image);
    expect([problems, uncleanShutdown]).toEqual([[], 0]);
    expect(entries.filter((entry) => entry > 1)).toHaveLength(2);
  });

  test.each([
    ['SIGTERM', FOREGROUND[0]],
    ['SIGINT', FOREGROUND[1]],
    ['SIGHUP', ['background', []]],
  ] as const)('is ended by the first %s (%j)', async (signal, [, args]) => {
    const image = await newImage('4M');
    const { child, ended, mountpoint } = await starting(image, ...args);
    writeFileSync(join(mountpoint, '..', 'hang'), '');
    child.kill(signal);
    expect(await within('it has ended', LATE_MS, ended)).toEqual({ end: signal, stderr: '' });
    await until('no process is left', LATE_MS, () => processesWith(mountpoint).length === 0);
    expect(isMountedAt(mountpoint)).toBe(false);
    expect(await vmdkfs('mount', image, mountpoint)).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await vmdkfs('unmount', mountpoint)).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});
