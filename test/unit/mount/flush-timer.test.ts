/** The thread that flushes and closes, over a real image, with its built worker. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../../src/block/create-image.js';
import { LayerState } from '../../../src/block/layer-state.js';
import { openImage } from '../../../src/block/open-image.js';
import type * as Built from '../../../src/mount/flush-timer.js';
import { tempFolder } from '../../helpers/temp-folder.js';
import { until, within } from '../../helpers/until.js';

const LATE_MS = 20_000;

/** A flush thread that is in the middle of its timed flush until `goOn`. */
async function inTimedFlush() {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: 1024 * 1024, backing: undefined });
  const { description } = openImage(image, { readOnly: false });
  const [layer] = description.layers;
  const words = new Int32Array(layer!.state);
  const { flushMutex } = new LayerState(layer!.state);
  const flushWaiters = 3;
  const file = new URL('../../../dist/mount/flush-timer.js', import.meta.url).href;
  const { FlushTimer } = (await import(file)) as typeof Built;
  flushMutex.lock();
  const timer = new FlushTimer(description, new SharedArrayBuffer(8));
  timer.died.catch(() => undefined);
  onTestFinished(async () => {
    await timer.close();
  });
  await until('it flushes', LATE_MS, () => words[flushWaiters] === 1);
  return {
    timer,
    goOn: () => {
      flushMutex.unlock();
    },
  };
}

describe('the flush thread', () => {
  test('a flush that was asked for before the image is closed is settled by the close', async () => {
    const { goOn, timer } = await inTimedFlush();
    const flushed = timer.flush();
    const closed = timer.close();
    goOn();
    await within('both have settled', LATE_MS, Promise.all([flushed, closed]));
  });

  test('a flush that is asked for while the image is closed waits for that, and hides nothing', async () => {
    const { goOn, timer } = await inTimedFlush();
    const closed = timer.close();
    const flushed = timer.flush();
    expect(timer.isClosing).toBe(true);
    goOn();
    await within('both have settled', LATE_MS, Promise.all([flushed, closed]));
    expect(timer.isAlive).toBe(false);
  });

  test('a flush is answered when it is done, and not by the one before it', async () => {
    const { goOn, timer } = await inTimedFlush();
    let isDone = false;
    const flushed = timer.flush().then(() => (isDone = true));
    await sleep(20);
    expect(isDone).toBe(false);
    goOn();
    await within('it has settled', LATE_MS, flushed);
    await within('the next one has settled', LATE_MS, timer.flush());
  });
});
