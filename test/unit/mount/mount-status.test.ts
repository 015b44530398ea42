import { describe, expect, test } from 'vitest';
import { newRequestCounters, readRequestCounters } from '../../../src/fuse/request-counters.js';
import { parseStatus, type MountStatus } from '../../../src/mount/mount-status.js';

const STATUS: MountStatus = {
  image: '/images/disk.vmdk',
  pid: 42,
  started: '2026-01-02T03:04:05.678Z',
  readOnly: false,
  transport: 'kernel',
  workers: 2,
  writebackCache: false,
  passthrough: false,
  size: 1024,
  allocated: 512,
  requests: {
    ...readRequestCounters(newRequestCounters(1)),
    read: {
      requests: 3,
      errors: 1,
      bytes: 4096,
      microseconds: 12.5,
      latency: { p50: 1, p90: 2, p99: 3, max: 4 },
    },
  },
  engine: {
    grainsAllocated: 1,
    copyFills: 2,
    cacheHits: 3,
    cacheMisses: 4,
    tableLoads: 5,
    flushes: 6,
    barriers: 7,
  },
};

describe('the answer of a server', () => {
  test('is its status', () => {
    expect(parseStatus(JSON.stringify(STATUS))).toEqual(STATUS);
  });

  test('gives nothing but its status', () => {
    const more = { ...STATUS, more: 1, engine: { ...STATUS.engine, more: 2 }, __proto__: { x: 1 } };
    expect(parseStatus(JSON.stringify(more))).toEqual(STATUS);
  });

  test.each([
    ['', 'no line'],
    ['null', 'nothing'],
    ['[]', 'a list'],
    ['{"error":"nothing that can be asked for"}', 'an error'],
    [JSON.stringify({ ...STATUS, image: undefined }), 'a member too few'],
    [JSON.stringify({ ...STATUS, pid: '42' }), 'a text for a number'],
    [JSON.stringify(STATUS).replace('"size":1024', '"size":1e999'), 'no number'],
    [JSON.stringify({ ...STATUS, requests: {} }), 'kinds of requests too few'],
    [JSON.stringify({ ...STATUS, engine: null }), 'nothing of the engine'],
  ])('is none where it is %s (%s)', (line) => {
    expect(parseStatus(line)).toBeUndefined();
  });
});
