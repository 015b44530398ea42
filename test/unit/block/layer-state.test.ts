import { threadId } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { LayerState, newLayerState } from '../../../src/block/layer-state.js';
import { systemError } from '../../../src/errno.js';

describe('the state of a layer', () => {
  test('is sound until a barrier fails, and broken for every thread from then on', () => {
    const shared = newLayerState();
    const [one, other] = [new LayerState(shared), new LayerState(shared)];
    one.barrier({ sync: () => undefined });
    other.assertSound('disk.vmdk');
    const failure = systemError('EIO', 'lost pages');
    expect(() => {
      one.barrier({
        sync: () => {
          throw failure;
        },
      });
    }).toThrow(failure);
    // The next fdatasync would succeed: nobody is told so.
    other.barrier({ sync: () => undefined });
    expect(() => {
      other.assertSound('disk.vmdk');
    }).toThrow(expect.objectContaining({ code: 'EIO' }) as Error);
  });

  test('tells for good that the CID changed, and how many writes failed', () => {
    const shared = newLayerState();
    const [state, other] = [new LayerState(shared), new LayerState(shared)];
    expect([state.isCidChanged, state.failedWrites]).toEqual([false, 0]);
    state.cidChanged();
    state.writeFailed();
    other.writeFailed();
    expect([other.isCidChanged, state.failedWrites]).toEqual([true, 2]);
  });

  test('is broken for good when a file was lost, which only the first has to tell', () => {
    const shared = newLayerState();
    const [state, other] = [new LayerState(shared), new LayerState(shared)];
    expect([state.fileLost(), other.fileLost(), state.fileLost()]).toEqual([true, false, false]);
    expect(() => {
      other.assertSound('disk.vmdk');
    }).toThrow(expect.objectContaining({ code: 'EIO', isTold: true }) as Error);
  });

  test('is broken and free when a thread ends inside, untouched when it ends outside', () => {
    const state = new LayerState(newLayerState());
    const self = threadId;
    expect(state.threadEnded(self)).toBe(false);
    state.assertSound('disk.vmdk');
    state.flushMutex.lock();
    state.mutex.lock();
    expect(state.threadEnded(self + 1)).toBe(false);
    expect(state.threadEnded(self)).toBe(true);
    // Neither waits: both were freed.
    state.flushMutex.lock();
    state.mutex.lock();
    expect(() => {
      state.assertSound('disk.vmdk');
    }).toThrow(/cut off/);
  });
});
