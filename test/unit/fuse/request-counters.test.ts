import { describe, expect, test } from 'vitest';
import {
  newRequestCounters,
  readRequestCounters,
  REQUEST_KINDS,
  RequestCounters,
  requestKind,
} from '../../../src/fuse/request-counters.js';

const READ = requestKind('read');
const FSYNC = requestKind('fsync');

describe('request counters', () => {
  test('start at nothing, of every kind', () => {
    const counts = readRequestCounters(newRequestCounters(3));
    expect(Object.keys(counts)).toEqual(REQUEST_KINDS);
    for (const kind of REQUEST_KINDS) {
      const nothing = { requests: 0, errors: 0, bytes: 0, microseconds: 0, latency: null };
      expect(counts[kind]).toEqual(nothing);
    }
  });

  test('add up what each thread counted, kind by kind', () => {
    const shared = newRequestCounters(2);
    const [one, other] = [new RequestCounters(shared, 0), new RequestCounters(shared, 1)];
    one.add(READ, false, 0.5);
    one.addBytes(READ, 4096);
    other.add(READ, false, 0.25);
    other.addBytes(READ, 2 ** 40);
    other.add(FSYNC, true, 2);
    const { fsync, read, write } = readRequestCounters(shared);
    expect(read).toMatchObject({
      requests: 2,
      errors: 0,
      bytes: 2 ** 40 + 4096,
      microseconds: 750,
    });
    expect(read.latency?.max).toBe(500);
    expect(fsync).toMatchObject({ requests: 1, errors: 1, bytes: 0, microseconds: 2000 });
    expect(write.requests).toBe(0);
  });

  test('know percentiles to an eighth, from nothing to minutes', () => {
    for (const scale of [0.0001, 0.001, 0.03, 1, 50, 900]) {
      const shared = newRequestCounters(1);
      const counters = new RequestCounters(shared, 0);
      for (let index = 1; index <= 1000; index++) counters.add(READ, false, (index / 1000) * scale);
      const { latency } = readRequestCounters(shared).read;
      expect(latency?.max).toBeCloseTo(scale * 1000, 1);
      for (const [percent, found] of [
        [50, latency?.p50],
        [90, latency?.p90],
        [99, latency?.p99],
      ] as const) {
        // The clock's tick is 64 ns.
        const exact = (percent / 100) * scale * 1000;
        expect(found).toBeGreaterThanOrEqual(exact - 0.01);
        expect(found).toBeLessThanOrEqual(exact * 1.126 + 0.07);
      }
    }
  });

  test('take a time beyond all buckets for the longest', () => {
    const shared = newRequestCounters(1);
    new RequestCounters(shared, 0).add(READ, false, 3_600_000);
    const { latency } = readRequestCounters(shared).read;
    expect(latency?.max).toBe(3_600_000_000);
    expect(latency?.p50).toBeGreaterThan(130_000_000);
  });

  test('count what has no name as other', () => {
    expect(REQUEST_KINDS[requestKind('mknod')]).toBe('other');
    expect(REQUEST_KINDS[requestKind('lseek')]).toBe('lseek');
  });
});
