import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  exchangeOverDisk,
  frame,
  littleEndian,
  numberAt,
  VALID_REQUESTS,
  type TestExchange,
} from '../helpers/frames.js';

const DISK_BYTES = 4 * 65536;
const RUNS = 1500;

const byte = fc.nat(255);
/** Numbers that lie on a border somewhere. */
const edge = fc.constantFrom(0, 1, 2, 3, 7, 15, 16, 63, 64, 127, 128, 254, 255);

/** Anything. */
const noise = fc.array(byte, { maxLength: 300 });

/** A right header before anything. */
const noisyBody = fc
  .tuple(
    fc.nat(60),
    fc.constantFrom(0, 1, 2, 3),
    fc.array(fc.oneof(byte, edge), { maxLength: 200 }),
  )
  .map(([opcode, nodeid, body]) => frame(opcode, body, { nodeid }));

/** A valid request with some of its bytes changed, cut or lengthened, with a right length or not. */
const mutated = fc
  .record({
    request: fc.constantFrom(...VALID_REQUESTS),
    data: fc.array(byte, { maxLength: 64 }),
    changes: fc.array(fc.tuple(fc.nat(140), fc.oneof(byte, edge)), { maxLength: 6 }),
    cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(60)),
    keepsLength: fc.boolean(),
  })
  .map(({ changes, cut, data, keepsLength, request }) => {
    const bytes = frame(request.opcode, [...request.body, ...data], { nodeid: request.nodeid });
    for (const [index, value] of changes) if (index < bytes.length) bytes[index] = value;
    const short = bytes.slice(0, bytes.length - cut);
    return keepsLength ? short : [...littleEndian(short.length, 4), ...short.slice(4)];
  });

/** Silence, or a reply to `request` that the kernel takes. */
function expectWellFormed(request: readonly number[], reply: readonly number[]): void {
  if (reply.length === 0) return;
  expect(reply.length).toBeGreaterThanOrEqual(16);
  expect(numberAt(reply, 0, 4)).toBe(reply.length);
  const error = numberAt(reply, 4, 4) | 0;
  expect(error).toBeLessThanOrEqual(0);
  expect(error).toBeGreaterThanOrEqual(-511);
  if (error !== 0) expect(reply).toHaveLength(16);
  expect(reply.slice(8, 16)).toEqual(request.slice(8, 16));
}

/** The size that a GETATTR of disk.raw is answered with. */
function sizeOf({ ask }: TestExchange): number {
  const reply = ask(frame(3, littleEndian(0, 16)));
  expect(reply.slice(0, 16)).toEqual([
    ...[0x78, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // len 120, error
    ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ]);
  expect(numberAt(reply, 32, 8)).toBe(2);
  return numberAt(reply, 40, 8);
}

describe('any bytes as a request', () => {
  test.each([
    ['noise', noise],
    ['noise behind a header', noisyBody],
    ['mutated requests', mutated],
  ])('are ignored or answered, and the next request is served (%s)', (_what, requests) => {
    const served = exchangeOverDisk(DISK_BYTES);
    fc.assert(
      fc.property(requests, (request) => {
        expectWellFormed(request, served.ask(request));
        expect(sizeOf(served)).toBe(DISK_BYTES);
      }),
      { numRuns: RUNS },
    );
    // Hostile requests are no failures of ours.
    expect(served.lines).toEqual([]);
  });

  test('are answered wherever a header says that somebody waits', () => {
    const { ask } = exchangeOverDisk(DISK_BYTES);
    fc.assert(
      fc.property(mutated, (request) => {
        if (request.length < 40) return;
        const isSilent = [2, 36, 42].includes(numberAt(request, 4, 4));
        expect(ask(request).length > 0).toBe(!isSilent);
      }),
      { numRuns: RUNS },
    );
  });
});
