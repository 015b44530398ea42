/** Who keeps a mount busy has the name of its program. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { mountHolders } from '../../../src/os/mount-holders.js';
import { tempFolder } from '../../helpers/temp-folder.js';

/** A Node in `folder` whose first thread is called `thread`, as long as the test runs; its id. */
async function holder(folder: string, thread: string | undefined, node = process.execPath) {
  const name = thread === undefined ? '' : `process.title = ${JSON.stringify(thread)};`;
  const script = `${name} console.log('ready'); setInterval(() => {}, 1e6);`;
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const child = spawn(node, ['-e', script], { cwd: folder, stdio: [...stdio] });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  await once(child.stdout, 'data');
  return child.pid ?? 0;
}

test.each([[undefined], ['MainThread'], ['node-MainThread']])(
  'Node, whatever it calls its first thread: %s',
  async (thread) => {
    const folder = tempFolder();
    const pid = await holder(folder, thread);
    expect(mountHolders(folder)).toEqual([`${basename(process.execPath)} (pid ${pid})`]);
  },
);

test('Node that was replaced since it was started', async () => {
  const folder = tempFolder();
  const programs = tempFolder();
  const copy = join(programs, 'my node');
  copyFileSync(process.execPath, copy);
  const pid = await holder(folder, 'node-MainThread', copy);
  rmSync(copy);
  expect(mountHolders(folder)).toEqual([`my node (pid ${pid})`]);
});

test('a program that calls itself something else', async () => {
  const folder = join(tempFolder(), 'folder');
  mkdirSync(folder);
  const pid = await holder(folder, 'a-Thread');
  expect(mountHolders(folder)).toEqual([`a-Thread (pid ${pid})`]);
  expect(mountHolders(`${folder}er`)).toEqual([]);
});
