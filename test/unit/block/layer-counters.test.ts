import { describe, expect, test } from 'vitest';
import { COUNTERS_WORDS, LayerCounters, sumCounters } from '../../../src/block/layer-counters.js';

function newCounters(): LayerCounters {
  return new LayerCounters(new Int32Array(new SharedArrayBuffer(COUNTERS_WORDS * 4)));
}

describe('the counters of a layer', () => {
  test('count each for itself', () => {
    const counters = newCounters();
    counters.add('flushes');
    counters.add('grainsAllocated', 16);
    counters.add('grainsAllocated');
    expect(counters.get('grainsAllocated')).toBe(17);
    expect(counters.get('flushes')).toBe(1);
    expect(counters.get('barriers')).toBe(0);
  });

  test('carry past 32 bits', () => {
    const counters = newCounters();
    for (let index = 0; index < 5; index++) counters.add('cacheHits', 2 ** 31 - 1);
    expect(counters.get('cacheHits')).toBe(5 * (2 ** 31 - 1));
    expect(counters.get('cacheMisses')).toBe(0);
  });

  test('of several layers are added up', () => {
    const layers = [newCounters(), newCounters()];
    layers.forEach((counters, index) => {
      counters.add('tableLoads', index + 1);
    });
    expect(sumCounters(layers)).toEqual({
      grainsAllocated: 0,
      copyFills: 0,
      cacheHits: 0,
      cacheMisses: 0,
      tableLoads: 3,
      flushes: 0,
      barriers: 0,
    });
  });
});
