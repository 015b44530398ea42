import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { GrainCache, newGrainCache } from '../../../src/block/grain-cache.js';

const SLOT = 4096;
const SLOTS = 8;

/** Whether the cache has a grain, and if so with the bytes that were kept. */
function has(cache: GrainCache, extent: number, grain: number, value: number): boolean {
  const target = Buffer.alloc(SLOT + 20, 0xdd);
  if (!cache.read(extent, grain, 100, target, 10, SLOT - 200)) return false;
  expect(target.subarray(10, 10 + SLOT - 200).equals(Buffer.alloc(SLOT - 200, value))).toBe(true);
  expect(target.subarray(0, 10).equals(Buffer.alloc(10, 0xdd))).toBe(true);
  expect(target.subarray(10 + SLOT - 200).equals(Buffer.alloc(210, 0xdd))).toBe(true);
  return true;
}

/** A cache of one set. */
function smallCache(): GrainCache {
  return new GrainCache(newGrainCache(SLOT, SLOT));
}

describe('the cache of inflated grains', () => {
  test('has what was kept, told apart by extent and grain, and nothing else', () => {
    const cache = smallCache();
    expect(has(cache, 1, 0, 0)).toBe(false);
    cache.keep(1, 0, Buffer.alloc(SLOT, 1));
    cache.keep(2, 0, Buffer.alloc(SLOT, 2));
    cache.keep(1, 5, Buffer.alloc(SLOT, 3));
    expect(has(cache, 1, 0, 1)).toBe(true);
    expect(has(cache, 2, 0, 2)).toBe(true);
    expect(has(cache, 1, 5, 3)).toBe(true);
    expect(has(cache, 2, 5, 3)).toBe(false);
  });

  test('gives up what was used longest ago', () => {
    const cache = smallCache();
    for (let grain = 0; grain < SLOTS; grain++) cache.keep(1, grain, Buffer.alloc(SLOT, grain));
    expect(has(cache, 1, 0, 0)).toBe(true);
    cache.keep(1, 100, Buffer.alloc(SLOT, 100));
    expect(has(cache, 1, 0, 0)).toBe(true);
    expect(has(cache, 1, 1, 1)).toBe(false);
    for (let grain = 2; grain < SLOTS; grain++) expect(has(cache, 1, grain, grain)).toBe(true);
  });

  test('works on when its clock turns over', () => {
    const description = newGrainCache(SLOT, SLOT);
    const cache = new GrainCache(description);
    const words = new Int32Array(description.control);
    words[0] = 0x7fffffff - 3;
    for (let grain = 0; grain < 3 * SLOTS; grain++) {
      cache.keep(1, grain, Buffer.alloc(SLOT, grain));
      expect(has(cache, 1, grain, grain)).toBe(true);
    }
    for (let grain = 2 * SLOTS; grain < 3 * SLOTS; grain++) {
      expect(has(cache, 1, grain, grain)).toBe(true);
    }
  });

  test('a slot that a dead thread left half full is lost, and the others serve', () => {
    const description = newGrainCache(SLOT, SLOT);
    const cache = new GrainCache(description);
    cache.keep(1, 0, Buffer.alloc(SLOT, 1));
    // The words of the first slot follow the clock; the first of them is its sequence.
    const words = new Int32Array(description.control, 4);
    words[0] = (words[0] ?? 0) | 1;
    expect(has(cache, 1, 0, 1)).toBe(false);
    for (let grain = 1; grain < 40; grain++) {
      cache.keep(1, grain, Buffer.alloc(SLOT, grain));
      cache.keep(1, grain, Buffer.alloc(SLOT, grain));
    }
    const kept = Array.from({ length: 40 }, (_, grain) => has(cache, 1, grain, grain));
    expect(kept.filter(Boolean).length).toBeGreaterThan(0);
    expect(kept[0]).toBe(false);
  });

  test('never hands over a mixture, with 8 threads that replace each other’s grains', async () => {
    const url = new URL('../../../dist/block/grain-cache.js', import.meta.url).href;
    const code = `
      const { workerData, parentPort } = require('node:worker_threads');
      import('${url}').then(({ GrainCache }) => {
        const { cache: description, seed } = workerData;
        const cache = new GrainCache(description);
        const slot = ${SLOT};
        const bytes = Buffer.alloc(slot);
        const target = Buffer.alloc(slot);
        let state = seed;
        let found = 0;
        const end = Date.now() + 1500;
        for (let round = 0; (round & 255) !== 0 || Date.now() < end; round++) {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          const grain = state >>> 27;
          if (cache.read(1, grain, 0, target, 0, slot)) {
            found += 1;
            if (!target.equals(bytes.fill(grain + 1))) throw new Error('grain ' + grain + ' is mixed');
          } else cache.keep(1, grain, bytes.fill(grain + 1));
        }
        parentPort.postMessage(found);
      });`;
    const cache = newGrainCache(SLOT, SLOT);
    const counts = await Promise.all(
      Array.from({ length: 8 }, (_, index) => {
        const worker = new Worker(code, { eval: true, workerData: { cache, seed: index + 1 } });
        return new Promise<number>((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
        });
      }),
    );
    for (const count of counts) expect(count).toBeGreaterThan(0);
  });
});
