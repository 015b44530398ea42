import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  answerInit,
  ProtocolError,
  type Agreement,
  type ConnectionWishes,
} from '../../src/fuse/kernel/negotiation.js';
import { littleEndian, numberAt } from '../helpers/frames.js';

/** A kernel of 7.40 that offers everything there is. */
const INIT = [
  ...[0x68, 0x00, 0x00, 0x00, 0x1a, 0x00, 0x00, 0x00], // len, opcode (INIT)
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // nodeid
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // uid, gid
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // pid, total_extlen, padding
  ...[0x07, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00], // major, minor
  ...[0xfe, 0xca, 0xad, 0x1b, 0xff, 0xff, 0xff, 0xff], // max_readahead, flags
  ...[0xff, 0xff, 0xff, 0xff, 0xb4, 0xb3, 0xb2, 0xb1], // flags2, unused
  ...[0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee], // unused
  ...[0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee], // unused
  ...[0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee], // unused
  ...[0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee], // unused
  ...[0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee], // unused
];

const INIT_OUT = [
  ...[0x07, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00], // major, minor
  ...[0xfe, 0xca, 0xad, 0x1b, 0x21, 0xe0, 0x44, 0x40], // max_readahead, flags
  ...[0x40, 0x00, 0x30, 0x00, 0x00, 0x00, 0x10, 0x00], // max_background, congestion_threshold, max_write
  ...[0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00], // time_gran, max_pages, map_alignment
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // flags2, max_stack_depth
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // unused
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // unused
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // unused
];

/** A kernel of 7.27, which offers all but INIT_EXT and has no flags2. */
const INIT_7_27 = [
  ...[0x38, 0x00, 0x00, 0x00, 0x1a, 0x00, 0x00, 0x00], // len, opcode (INIT)
  ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // nodeid
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // uid, gid
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // pid, total_extlen, padding
  ...[0x07, 0x00, 0x00, 0x00, 0x1b, 0x00, 0x00, 0x00], // major, minor
  ...[0xfe, 0xca, 0xad, 0x1b, 0xff, 0xff, 0xff, 0x3f], // max_readahead, flags
];

const INIT_OUT_7_27 = [
  ...[0x07, 0x00, 0x00, 0x00, 0x1b, 0x00, 0x00, 0x00], // major, minor
  ...[0xfe, 0xca, 0xad, 0x1b, 0x21, 0xe0, 0x44, 0x00], // max_readahead, flags
  ...[0x40, 0x00, 0x30, 0x00, 0x00, 0x00, 0x10, 0x00], // max_background, congestion_threshold, max_write
  ...[0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00], // time_gran, max_pages, map_alignment
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // flags2, max_stack_depth
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // unused
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // unused
  ...[0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00], // unused
];

const NOTHING: ConnectionWishes = { writebackCache: false, passthrough: false };

const WRITEBACK_CACHE = 1 << 16;
const MAX_PAGES = 1 << 22;
const INIT_EXT = 1 << 30;
const PASSTHROUGH = 1 << 5;
/** What every mount takes of a kernel that offers it. */
const TAKEN = 0x4044e021;

/** INIT with some of its numbers changed. */
function init(changes: Partial<Record<'major' | 'minor' | 'flags' | 'flags2', number>>): number[] {
  const places = { major: 40, minor: 44, flags: 52, flags2: 56 };
  const request = [...INIT];
  for (const [name, value] of Object.entries(changes)) {
    request.splice(places[name as keyof typeof places], 4, ...littleEndian(value, 4));
  }
  return request;
}

/** What is answered to `request`, over what the reply held before, and agreed on. */
function answer(
  request: readonly number[],
  wishes: ConnectionWishes = NOTHING,
): { reply: number[]; agreement: Agreement | undefined } {
  const reply = new Uint8Array(64).fill(0xdd);
  const agreement = answerInit(Uint8Array.from(request), reply, wishes);
  return { reply: [...reply], agreement };
}

/** The parts of an answer that depend on what was offered. */
function termsOf(reply: readonly number[]): Record<string, number> {
  return {
    flags: numberAt(reply, 12, 4),
    flags2: numberAt(reply, 32, 4),
    maxWrite: numberAt(reply, 20, 4),
    maxPages: numberAt(reply, 28, 4), // map_alignment in its upper half
    maxStackDepth: numberAt(reply, 36, 4),
  };
}

const USUAL = {
  flags: TAKEN,
  flags2: 0,
  maxWrite: 0x100000,
  maxPages: 256,
  maxStackDepth: 0,
};

describe('INIT', () => {
  test('of a kernel that offers everything is answered with what every mount takes', () => {
    expect(answer(INIT)).toEqual({
      reply: INIT_OUT,
      agreement: { minor: 40, maxWrite: 0x100000, writebackCache: false, passthrough: false },
    });
  });

  test('of 7.27 has 16 bytes and is answered with what it offers', () => {
    expect(answer(INIT_7_27, { writebackCache: false, passthrough: true })).toEqual({
      reply: INIT_OUT_7_27,
      agreement: { minor: 27, maxWrite: 0x100000, writebackCache: false, passthrough: false },
    });
  });

  test('without MAX_PAGES is answered with 32 pages and no number of pages', () => {
    const { agreement, reply } = answer(init({ flags: ~MAX_PAGES }));
    expect(termsOf(reply)).toEqual({
      ...USUAL,
      flags: TAKEN - MAX_PAGES,
      maxWrite: 0x20000,
      maxPages: 0,
    });
    expect(agreement?.maxWrite).toBe(0x20000);
  });

  test('without INIT_EXT has no flags2, whatever stands there', () => {
    const wishes = { writebackCache: false, passthrough: true };
    const { agreement, reply } = answer(init({ flags: ~INIT_EXT }), wishes);
    expect(termsOf(reply)).toEqual({ ...USUAL, flags: TAKEN - INIT_EXT });
    expect(agreement?.passthrough).toBe(false);
  });

  test('of a version before flags2 has none, whatever stands there', () => {
    const wishes = { writebackCache: false, passthrough: true };
    const { agreement, reply } = answer(init({ minor: 35 }), wishes);
    expect(termsOf(reply)).toEqual(USUAL);
    expect(agreement?.passthrough).toBe(false);
  });

  test('with INIT_EXT that ends before its flags2 has none', () => {
    const wishes = { writebackCache: false, passthrough: true };
    const { agreement, reply } = answer(INIT.slice(0, 56), wishes);
    expect(termsOf(reply)).toEqual(USUAL);
    expect(agreement?.passthrough).toBe(false);
  });

  test.each([
    [false, 0xffffffff, false],
    [true, ~WRITEBACK_CACHE, false],
    [true, 0xffffffff, true],
  ])('takes the writeback cache where it is wished (%s) and offered', (wished, flags, taken) => {
    const wishes = { writebackCache: wished, passthrough: false };
    const { agreement, reply } = answer(init({ flags }), wishes);
    expect(termsOf(reply)).toEqual({ ...USUAL, flags: taken ? TAKEN + WRITEBACK_CACHE : TAKEN });
    expect(agreement?.writebackCache).toBe(taken);
  });

  test.each([
    [false, 0xffffffff, false],
    [true, ~PASSTHROUGH, false],
    [true, 0xffffffff, true],
  ])('takes passthrough where it is wished (%s) and offered', (wished, flags2, taken) => {
    const wishes = { writebackCache: false, passthrough: wished };
    const { agreement, reply } = answer(init({ flags2 }), wishes);
    const terms = taken ? { flags2: PASSTHROUGH, maxStackDepth: 1 } : {};
    expect(termsOf(reply)).toEqual({ ...USUAL, ...terms });
    expect(agreement?.passthrough).toBe(taken);
  });

  test('never takes passthrough together with the writeback cache', () => {
    const wishes = { writebackCache: true, passthrough: true };
    const { agreement, reply } = answer(INIT, wishes);
    expect(termsOf(reply)).toEqual({ ...USUAL, flags: TAKEN + WRITEBACK_CACHE });
    expect(agreement).toMatchObject({ writebackCache: true, passthrough: false });
  });

  test('takes passthrough where the writeback cache was wished and not offered', () => {
    const wishes = { writebackCache: true, passthrough: true };
    const { agreement } = answer(init({ flags: ~WRITEBACK_CACHE }), wishes);
    expect(agreement).toMatchObject({ writebackCache: false, passthrough: true });
  });

  test('of a newer minor version is answered with ours', () => {
    const { agreement, reply } = answer(init({ minor: 45 }));
    expect(reply).toEqual(INIT_OUT);
    expect(agreement?.minor).toBe(45);
  });

  test('of an older minor version is answered with its own', () => {
    expect(numberAt(answer(init({ minor: 31 })).reply, 4, 4)).toBe(31);
  });
});

describe('INIT of another major version', () => {
  test.each([
    [8, 45],
    [8, 40],
    [0xffffffff, 0xffffffff],
  ])('%i.%i is answered with ours alone, for the kernel to ask again', (major, minor) => {
    const { agreement, reply } = answer(init({ major, minor }));
    expect(agreement).toBeUndefined();
    expect(reply).toEqual([
      ...[0x07, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00], // major, minor
      ...Array<number>(56).fill(0),
    ]);
  });

  test('8.0 is answered with our minor version, not with the lesser one of another protocol', () => {
    expect(numberAt(answer(init({ major: 8, minor: 0 })).reply, 4, 4)).toBe(40);
  });

  test.each([
    [7, 26],
    [7, 0],
    [6, 99],
    [6, 27],
    [0, 0],
  ])('%i.%i is too old', (major, minor) => {
    expect(() => answer(init({ major, minor }))).toThrow(
      new ProtocolError(`the kernel speaks FUSE ${major}.${minor} (7.27 or newer expected)`),
    );
  });
});

describe('a short INIT', () => {
  test.each([0, 39, 40, 55])('of %i bytes is none', (length) => {
    expect(() => answer(INIT.slice(0, length))).toThrow(
      new ProtocolError(`the kernel's INIT has only ${length} bytes`),
    );
  });
});

test('nothing is answered that was not offered', () => {
  const u32 = fc.oneof(fc.nat(0xffffffff), fc.constant(0xffffffff));
  const minors = fc.integer({ min: 27, max: 60 });
  const wishes = fc.record({ writebackCache: fc.boolean(), passthrough: fc.boolean() });
  const lengths = fc.constantFrom(56, 60, 103, 104);
  fc.assert(
    fc.property(u32, u32, minors, wishes, lengths, (flags, flags2, minor, wished, length) => {
      const { agreement, reply } = answer(init({ flags, flags2, minor }).slice(0, length), wished);
      const terms = termsOf(reply);
      const hasFlags2 = length === 104 && minor >= 36 && (flags & INIT_EXT) !== 0;
      const isPassedThrough = ((terms['flags2'] ?? 0) & PASSTHROUGH) !== 0;
      expect((terms['flags'] ?? 0) & ~flags).toBe(0);
      expect((terms['flags2'] ?? 0) & ~(hasFlags2 ? flags2 : 0)).toBe(0);
      expect(terms['maxPages']).toBe((flags & MAX_PAGES) === 0 ? 0 : 256);
      expect(terms['maxStackDepth']).toBe(isPassedThrough ? 1 : 0);
      expect(agreement?.passthrough).toBe(isPassedThrough);
      expect(agreement?.writebackCache).toBe(((terms['flags'] ?? 0) & WRITEBACK_CACHE) !== 0);
      expect(reply.slice(40)).toEqual(Array<number>(24).fill(0));
    }),
    { numRuns: 500 },
  );
});
