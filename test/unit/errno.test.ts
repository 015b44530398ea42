import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { describeError, Errno, systemError, toErrno } from '../../src/errno.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';

/** The error of Node's own for a file that does not exist. */
function missing(path: string): unknown {
  try {
    return readFileSync(path);
  } catch (error) {
    return error;
  }
}

describe('toErrno', () => {
  test('is the number that an error of the system carries', () => {
    expect(toErrno(missing('/nonexistent/disk.vmdk'))).toBe(-2);
    expect(toErrno(systemError('ENOSPC', 'full'))).toBe(-28);
    expect(toErrno(systemError('EROFS', 'read-only'))).toBe(-30);
  });

  test('of a bad image is EIO', () => {
    expect(toErrno(new VmdkError('VMDK_BAD_GRAIN', 'disk.vmdk', 'broken'))).toBe(-5);
  });

  test.each([
    ['an error without a number', new Error('no')],
    ['a positive number', Object.assign(new Error('no'), { errno: 28 })],
    ['0', Object.assign(new Error('no'), { errno: 0 })],
    ['a word', Object.assign(new Error('no'), { errno: 'ENOSPC' })],
    ['NaN', Object.assign(new Error('no'), { errno: NaN })],
    ['what is not an error', { errno: -28 }],
    ['undefined', undefined],
    ['a string', 'ENOSPC'],
  ])('of %s is EIO', (_name, error) => {
    expect(toErrno(error)).toBe(-5);
  });
});

describe('systemError', () => {
  test('has the shape of the errors of Node', () => {
    const error = systemError('EFBIG', 'disk.vmdk: too large');
    expect(error).toBeInstanceOf(Error);
    expect(error.message).toBe('disk.vmdk: too large');
    expect(error).toMatchObject({ code: 'EFBIG', errno: -constants.errno.EFBIG });
    expect(Errno.EFBIG).toBe(27);
  });
});

describe('describeError', () => {
  test('puts the path of a system error first and drops code and call', () => {
    expect(describeError(missing('/nonexistent/a, b.vmdk'))).toBe(
      '/nonexistent/a, b.vmdk: no such file or directory',
    );
    expect(describeError(missing('/'))).toBe('EISDIR: illegal operation on a directory, read');
  });

  test.each([
    [new VmdkError('VMDK_NO_EXTENTS', 'a.vmdk', 'has no extents'), 'a.vmdk: has no extents'],
    [systemError('ENOSPC', 'a.vmdk: full'), 'a.vmdk: full'],
    [Object.assign(new Error('plain words'), { path: '/x' }), 'plain words'],
    [Object.assign(new Error('EIO: i/o error, read'), { path: 7 }), 'EIO: i/o error, read'],
    ['text', 'text'],
    [undefined, 'undefined'],
    [7, '7'],
  ])('of %o is its words', (error, words) => {
    expect(describeError(error)).toBe(words);
  });
});
