import { closeSync, writeSync } from 'node:fs';
import { expect, test } from 'vitest';
import { socketPair } from '../../../src/os/fd-passing.js';
import { FuseDevice } from '../../../src/os/fuse-device.js';
import { allocatePinned } from '../../../src/os/pinned-memory.js';

test('a device tells without waiting whether a request or its end is there', () => {
  const { ours, theirs } = socketPair();
  try {
    const device = new FuseDevice(ours);
    expect(device.hasRequest()).toBe(false);
    writeSync(theirs, 'request');
    expect(device.hasRequest()).toBe(true);
    const request = allocatePinned(4096, 0);
    expect(device.receive(request)).toBe('request'.length);
    expect(device.hasRequest()).toBe(false);
    closeSync(theirs);
    expect(device.hasRequest()).toBe(true);
    expect(device.receive(request)).toBe(0);
  } finally {
    closeSync(ours);
  }
});
