/** A thread that dies inside the mutexes of a tree's views keeps nobody waiting for ever. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { newDiskState, viewState } from '../../../src/fs/disk-state.js';
import { within } from '../../helpers/until.js';

const BUILT = new URL('../../../dist/fs/', import.meta.url).href;
const LATE_MS = 20_000;

/** Runs `body` in a thread of its own, with the built code of the tree and `state`. */
function startThread(body: string, state: SharedArrayBuffer): Worker {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    Promise.all(['disk-state.js', 'disk-file-system.js'].map((name) => import(workerData.folder + name)))
      .then(([{ viewState }, { DiskFileSystem }]) => {
        const { state } = workerData;
        ${body}
      });`;
  const worker = new Worker(code, { eval: true, workerData: { folder: BUILT, state } });
  onTestFinished(async () => {
    await worker.terminate();
  });
  return worker;
}

/** The state of a tree in which a thread died that held both mutexes; its id. */
async function withDeadOwner(): Promise<{ state: SharedArrayBuffer; owner: number }> {
  const state = newDiskState({ uid: 0, gid: 0, mode: 0o644, mtime: 0 });
  const body = 'viewState(state).tableMutex.lock(); viewState(state).viewsMutex.lock();';
  const dying = startThread(body, state);
  const owner = dying.threadId;
  await once(dying, 'exit');
  return { state, owner };
}

test('what it held is freed when its end is known', async () => {
  const { owner, state } = await withDeadOwner();
  const views = viewState(state);
  expect([views.tableMutex.isHeldBy(owner), views.viewsMutex.isHeldBy(owner)]).toEqual([
    true,
    true,
  ]);
  views.threadEnded(owner + 1);
  expect(views.viewsMutex.isHeldBy(owner)).toBe(true);
  views.threadEnded(owner);
  for (const mutex of [views.tableMutex, views.viewsMutex]) {
    expect(mutex.tryLock()).toBe(true);
    expect(mutex.tryLock()).toBe(false);
  }
});

test('the thread that answers OPENs that wait, and hears of ends, does not wait for it', async () => {
  const { owner, state } = await withDeadOwner();
  const body = `
    const device = { size: 1 << 20, readOnly: false };
    const options = { state, writebackCache: false, hasUncachedFiles: true, neverWaits: true };
    const tree = new DiskFileSystem(device, options);
    const opened = tree.open(2, 2, 0);
    tree.undoOpen(2, 2, 0);
    tree.release(2, 2, 0);
    parentPort.postMessage(opened);`;
  const asking = startThread(body, state);
  // -EAGAIN: it is asked again soon.
  expect(await within('it has an answer', LATE_MS, once(asking, 'message'))).toEqual([-11]);
  viewState(state).threadEnded(owner);
  const again = startThread(body, state);
  expect(await within('it has an answer', LATE_MS, once(again, 'message'))).toEqual([0]);
});
