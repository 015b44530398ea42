import { describe, expect, test } from 'vitest';
import { FakeFileSystem } from '../helpers/fake-file-system.js';
import { exchangeOver, failed, frame, succeeded, VALID_REQUESTS } from '../helpers/frames.js';

/** Requests that the file system is asked for. */
const ASKED = VALID_REQUESTS.filter(({ body, nodeid, opcode }) => {
  const fileSystem = new FakeFileSystem();
  exchangeOver(fileSystem).ask(frame(opcode, body, { nodeid }));
  return fileSystem.calls.length > 0;
});

const READ = frame(15, [...Array<number>(16).fill(0), 16, 0, 0, 0, ...Array<number>(20).fill(0)]);

/** The reply to a READ of a file system that throws `failure`, and what was logged. */
function readFrom(failure: Error): { reply: number[]; lines: string[] } {
  const fileSystem = new FakeFileSystem();
  fileSystem.failure = failure;
  const { ask, lines } = exchangeOver(fileSystem);
  return { reply: ask(READ), lines };
}

describe('an error of the file system', () => {
  test.each([
    [-28, 'ENOSPC'],
    [-2, 'ENOENT'],
    [-5, 'EIO'],
    [-512, 'EIO'],
    [-4095, 'EIO'],
    [28, 'EIO'],
    [0, 'EIO'],
    [Number.NaN, 'EIO'],
    ['ENOSPC', 'EIO'],
  ] as const)('that carries errno %s is answered with %s and logged', (errno, name) => {
    const { lines, reply } = readFrom(Object.assign(new Error('it broke'), { errno }));
    expect(reply).toEqual(failed(name));
    expect(lines).toEqual(['READ: it broke']);
  });

  test('of ours (a TypeError) is EIO and one line', () => {
    const { lines, reply } = readFrom(new TypeError('x is not a\nfunction'));
    expect(reply).toEqual(failed('EIO'));
    expect(lines).toEqual(['READ: x is not a?function']);
  });

  test('carries -511 at the least to the kernel', () => {
    const { reply } = readFrom(Object.assign(new Error('it broke'), { errno: -511 }));
    expect(reply).toEqual([
      ...[0x10, 0x00, 0x00, 0x00, 0x01, 0xfe, 0xff, 0xff], // len, error -511
      ...[0x0d, 0xf0, 0xad, 0xba, 0xef, 0xbe, 0xad, 0xde], // unique
    ]);
  });

  test.each(ASKED)('is answered and logged once for $name', ({ body, name, nodeid, opcode }) => {
    const fileSystem = new FakeFileSystem();
    fileSystem.failure = Object.assign(new Error('no space'), { errno: -28 });
    const { ask, lines } = exchangeOver(fileSystem);
    expect(ask(frame(opcode, body, { nodeid }))).toEqual(failed('ENOSPC'));
    expect(lines).toEqual([`${name}: no space`]);
  });

  test('concerns every operation that has something to do', () => {
    expect(ASKED.map(({ name }) => name)).toEqual([
      'LOOKUP',
      'GETATTR',
      'SETATTR',
      'OPEN',
      'READ',
      'WRITE',
      'STATFS',
      'RELEASE',
      'FSYNC',
      'FLUSH',
      'READDIR',
      'FALLOCATE',
      'READDIRPLUS',
      'LSEEK',
    ]);
  });

  test('leaves the next request as it is', () => {
    const fileSystem = new FakeFileSystem();
    const { ask } = exchangeOver(fileSystem);
    fileSystem.failure = new Error('once');
    expect(ask(READ)).toEqual(failed('EIO'));
    fileSystem.failure = undefined;
    expect(ask(READ)).toEqual(succeeded(Array.from({ length: 16 }, (_, index) => index + 1)));
  });
});

describe('a result below -511', () => {
  test.each([-512, -4095, -(2 ** 31), -(2 ** 40)])('(%i) is EIO', (result) => {
    const fileSystem = new FakeFileSystem();
    fileSystem.result = result;
    expect(exchangeOver(fileSystem).ask(READ)).toEqual(failed('EIO'));
  });
});
