import { describe, expect, test } from 'vitest';
import { FakeFileSystem } from '../helpers/fake-file-system.js';
import {
  ascii,
  exchangeOver,
  exchangeOverDisk,
  failed,
  frame,
  littleEndian,
  rangeBody,
  succeeded,
  VALID_REQUESTS,
} from '../helpers/frames.js';

const MIB = 1024 * 1024;

/** Requests that can be shorter than they should be. */
const WITH_BODY = VALID_REQUESTS.filter(({ body }) => body.length > 0);

/** `frame` with another `len`. */
function withLength(request: readonly number[], length: number): number[] {
  return [...littleEndian(length, 4), ...request.slice(4)];
}

describe('a request shorter than its header', () => {
  test.each([0, 1, 4, 39])('of %i bytes has no reply', (length) => {
    const fileSystem = new FakeFileSystem();
    const { ask } = exchangeOver(fileSystem);
    const request = withLength(frame(3, littleEndian(0, 16)), length).slice(0, length);
    expect(ask(request)).toEqual([]);
    expect(fileSystem.calls).toEqual([]);
  });
});

describe('a request that says another length than it has', () => {
  test.each(VALID_REQUESTS)(
    'is EINVAL, or silence ($name)',
    ({ body, isSilent, nodeid, opcode }) => {
      const fileSystem = new FakeFileSystem();
      const { ask } = exchangeOver(fileSystem);
      const request = frame(opcode, body, { nodeid });
      const answers = [request.length - 1, request.length + 1, 0, 0xffffffff].map((length) =>
        ask(withLength(request, length)),
      );
      expect(answers).toEqual(answers.map(() => (isSilent ? [] : failed('EINVAL'))));
      expect(fileSystem.calls).toEqual([]);
    },
  );
});

describe('a request one byte too short', () => {
  test.each(WITH_BODY)('is EINVAL, or silence ($name)', ({ body, isSilent, nodeid, opcode }) => {
    const fileSystem = new FakeFileSystem();
    const { ask } = exchangeOver(fileSystem);
    const reply = ask(frame(opcode, body.slice(0, -1), { nodeid }));
    expect(reply).toEqual(isSilent ? [] : failed('EINVAL'));
    expect(fileSystem.calls).toEqual([]);
  });

  test.each(VALID_REQUESTS)('is all that is wrong with it ($name)', ({ body, nodeid, opcode }) => {
    const { ask } = exchangeOver(new FakeFileSystem());
    expect(ask(frame(opcode, body, { nodeid }))).not.toEqual(failed('EINVAL'));
  });
});

describe('a size', () => {
  test.each([
    ['one more than its data', 16, 17],
    ['no data at all', 0, 1],
    ['the largest size', 16, 0xffffffff],
  ])('of a WRITE that is not there is EINVAL (%s)', (_what, data, size) => {
    const fileSystem = new FakeFileSystem();
    const { ask } = exchangeOver(fileSystem);
    const body = [...rangeBody(0, size), ...Array<number>(data).fill(1)];
    expect(ask(frame(16, body))).toEqual(failed('EINVAL'));
    expect(fileSystem.calls).toEqual([]);
  });

  test('of a WRITE that is less than its data counts', () => {
    const fileSystem = new FakeFileSystem();
    const { ask } = exchangeOver(fileSystem);
    expect(ask(frame(16, [...rangeBody(0, 3), 1, 2, 3, 4, 5]))).toEqual(
      succeeded(littleEndian(3, 8)),
    );
    expect(fileSystem.calls).toEqual([['write', 2, [1, 2, 3], 3, 0]]);
  });

  test.each([MIB + 1, 0x80000000, 0xffffffff])('of a READ of %i bytes is EINVAL', (size) => {
    const fileSystem = new FakeFileSystem();
    const { ask } = exchangeOver(fileSystem);
    expect(ask(frame(15, rangeBody(0, size)))).toEqual(failed('EINVAL'));
    expect(fileSystem.calls).toEqual([]);
  });
});

describe('a huge offset', () => {
  const OFFSETS = [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

  test.each(OFFSETS)('%d is past the end for a READ', (offset) => {
    expect(exchangeOverDisk(65536).ask(frame(15, rangeBody(offset, 4096)))).toEqual(succeeded());
  });

  test.each(OFFSETS)('%d has no space for a WRITE', (offset) => {
    const { ask } = exchangeOverDisk(65536);
    const request = frame(16, [...rangeBody(offset, 4), 1, 2, 3, 4]);
    expect(ask(request)).toEqual(failed('ENOSPC'));
    expect(ask(frame(15, rangeBody(0, 65536)))).toEqual(succeeded(Array<number>(65536).fill(0)));
  });

  test.each(OFFSETS)('%d is no place to seek from', (offset) => {
    const { ask } = exchangeOverDisk(65536);
    const seek = (whence: number): number[] =>
      ask(
        frame(46, [...littleEndian(0, 8), ...littleEndian(offset, 8), ...littleEndian(whence, 8)]),
      );
    expect([seek(3), seek(4)]).toEqual([failed('ENXIO'), failed('ENXIO')]);
  });

  test.each(OFFSETS)('%d is nothing to zero, or over the end', (offset) => {
    const { ask } = exchangeOverDisk(65536);
    const zero = (mode: number): number[] =>
      ask(
        frame(43, [
          ...littleEndian(0, 8), // fh
          ...littleEndian(offset, 8), // offset
          ...littleEndian(2n ** 64n - 1n, 8), // length
          ...littleEndian(mode, 8), // mode, padding
        ]),
      );
    expect([zero(3), zero(17), zero(16)]).toEqual([succeeded(), succeeded(), failed('EFBIG')]);
  });
});

describe('a name', () => {
  test.each([
    ['that ends with the request', ascii('disk.raw')],
    ['of 4096 bytes that ends with the request', ascii('x'.repeat(4096))],
  ])('without NUL is not looked for behind the request (%s)', (_what, name) => {
    const { ask, exchange } = exchangeOverDisk(65536);
    expect(ask(frame(1, name, { nodeid: 1 }))).toEqual(failed('ENOENT'));
    // A NUL right behind the request belongs to an earlier one.
    const request = frame(1, name, { nodeid: 1 });
    exchange.request.fill(0);
    exchange.request.set(request);
    expect(exchange.handle(request.length)).toBe(16);
    expect([...exchange.reply.subarray(0, 16)]).toEqual(failed('ENOENT'));
  });

  test('of 4096 bytes is not found', () => {
    const fileSystem = new FakeFileSystem();
    fileSystem.result = -2;
    const { ask } = exchangeOver(fileSystem);
    const name = 'x'.repeat(4096);
    expect(ask(frame(1, ascii(`${name}\0`), { nodeid: 1 }))).toEqual(failed('ENOENT'));
    expect(fileSystem.calls).toEqual([['lookup', 1, name]]);
  });

  test.each([
    ['no bytes', [0, 0]],
    ['a NUL first', [0, ...ascii('disk.raw\0')]],
    ['bytes that are no UTF-8', [0xff, 0xfe, 0xc0, 0x80, 0]],
  ])('of %s is not found', (_what, name) => {
    expect(exchangeOverDisk(65536).ask(frame(1, name, { nodeid: 1 }))).toEqual(failed('ENOENT'));
  });
});
