import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { overlayOf } from '../../../src/cli/overlay-options.js';
import { UsageError } from '../../../src/mount/mount-error.js';

const OPEN = { readOnly: false };

describe('overlayOf', () => {
  test('is undefined where nothing is asked for', () => {
    expect(overlayOf({}, {}, OPEN)).toBeUndefined();
    expect(overlayOf({ overlay: undefined, snapshot: false }, {}, OPEN)).toBeUndefined();
  });

  test('takes a file from either form of the option, and that of -o first', () => {
    const file = (path: string) => ({ kind: 'file', path });
    expect(overlayOf({}, { overlay: '/x/a.vmdk' }, OPEN)).toEqual(file('/x/a.vmdk'));
    expect(overlayOf({ overlay: '/x/b.vmdk' }, { overlay: '/x/a.vmdk' }, OPEN)).toEqual(
      file('/x/b.vmdk'),
    );
    expect(overlayOf({ overlay: 'a.vmdk' }, {}, OPEN)).toEqual(file(join(process.cwd(), 'a.vmdk')));
    const tracked = { readOnly: false, dropChangeTracking: true };
    expect(overlayOf({}, { overlay: '/x/a.vmdk' }, tracked)).toEqual(file('/x/a.vmdk'));
    expect(overlayOf({}, { overlay: '/x/a.vmdk' }, { readOnly: true })).toEqual(file('/x/a.vmdk'));
  });

  test('takes a snapshot from either form', () => {
    const snapshot = { kind: 'snapshot', folder: tmpdir() };
    expect(overlayOf({ snapshot: true }, {}, OPEN)).toEqual(snapshot);
    expect(overlayOf({ snapshot: false }, { snapshot: true }, OPEN)).toEqual(snapshot);
  });

  test.each([
    [{ overlay: '' }, {}, OPEN, /needs the name of a file/],
    [{ overlay: 'a' }, { snapshot: true }, OPEN, /keeps .* throws .*; choose one/],
    [{ snapshot: true }, { overlay: 'a' }, OPEN, /keeps .* throws .*; choose one/],
    [{ snapshot: true }, {}, { readOnly: true }, /-o ro forbids it/],
    [{ snapshot: true }, {}, { readOnly: false, dropChangeTracking: true }, /drop-change-tracking/],
  ])('refuses %j with %j, opened with %j', (options, flags, open, message) => {
    expect(() => overlayOf(options, flags, open)).toThrow(UsageError);
    expect(() => overlayOf(options, flags, open)).toThrow(message);
  });
});
