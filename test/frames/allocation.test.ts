import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { Exchange } from '../../src/fuse/kernel/exchange.js';
import { exchangeOverDisk, frame, rangeBody } from '../helpers/frames.js';

const MIB = 1024 * 1024;
const DISK_BYTES = 64 * MIB;
const REQUEST_BYTES = 4096;
const WARM_UP = 5000;
const REQUESTS = 100_000;
/** Where `offset` is in a READ or WRITE. */
const OFFSET = 48;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function memoryInUse(): Pick<NodeJS.MemoryUsage, 'arrayBuffers' | 'external' | 'heapUsed'> {
  collectGarbage();
  collectGarbage();
  return process.memoryUsage();
}

/** Serves `request` again and again, each 4 KiB further on the disk. */
function serve(exchange: Exchange, request: Uint8Array, reply: number, count: number): void {
  exchange.request.set(request);
  for (let index = 0; index < count; index++) {
    exchange.requestView.setUint32(OFFSET, (index * REQUEST_BYTES) % DISK_BYTES, true);
    if (exchange.handle(request.length) !== reply) throw new Error(`request ${index} failed`);
  }
}

describe('100,000 requests of 4 KiB', () => {
  test.each([
    ['READ', 15, 0, 16 + REQUEST_BYTES],
    ['WRITE', 16, REQUEST_BYTES, 24],
  ])(
    'of %s leave the heap and the memory outside it as they were',
    (_name, opcode, data, reply) => {
      const { exchange, lines } = exchangeOverDisk(DISK_BYTES);
      const body = [...rangeBody(0, REQUEST_BYTES), ...Array<number>(data).fill(0x5a)];
      const request = Uint8Array.from(frame(opcode, body));
      serve(exchange, request, reply, WARM_UP);
      const before = memoryInUse();
      serve(exchange, request, reply, REQUESTS);
      const after = memoryInUse();
      expect(lines).toEqual([]);
      expect(after.heapUsed - before.heapUsed).toBeLessThan(MIB);
      expect(after.external - before.external).toBeLessThan(MIB);
      expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(MIB);
    },
  );
});
