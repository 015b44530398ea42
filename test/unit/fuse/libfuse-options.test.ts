import { describe, expect, test } from 'vitest';
import { libfuseOptions } from '../../../src/fuse/libfuse/libfuse-transport.js';
import type { TransportOptions } from '../../../src/fuse/transport.js';

const OPTIONS: TransportOptions = {
  mountpoint: '/mnt/disk',
  fsname: '/images/disk.vmdk',
  readOnly: false,
  options: [],
};

/** The bytes of the longest string that fuse-native holds, its NUL not counted. */
const LONGEST = 1023;

function withSource(fsname: string): string {
  return libfuseOptions({ ...OPTIONS, fsname });
}

/** The source that libfuse gets: what it reads after `fsname=`, without escapes. */
function sourceOf(argument: string): string {
  return argument.slice(argument.indexOf('fsname=') + 7).replaceAll(/\\(.)/g, '$1');
}

describe('libfuseOptions', () => {
  test('asks for big writes and names that are asked for again always, and for ro only where the mount is read-only', () => {
    expect(libfuseOptions(OPTIONS)).toBe(
      '-obig_writes,entry_timeout=0,subtype=vmdkfs,fsname=/images/disk.vmdk',
    );
    expect(libfuseOptions({ ...OPTIONS, readOnly: true })).toBe(
      '-obig_writes,entry_timeout=0,subtype=vmdkfs,ro,fsname=/images/disk.vmdk',
    );
  });

  test('hands further options on before the source', () => {
    const options = ['allow_other', 'default_permissions'];
    expect(libfuseOptions({ ...OPTIONS, readOnly: true, options })).toBe(
      '-obig_writes,entry_timeout=0,subtype=vmdkfs,ro,allow_other,default_permissions,fsname=/images/disk.vmdk',
    );
  });

  test('escapes commas and backslashes', () => {
    expect(withSource('/a,b\\c,ro.vmdk')).toMatch(/,fsname=\/a\\,b\\\\c\\,ro\.vmdk$/);
    expect(libfuseOptions({ ...OPTIONS, options: ['x,y\\z'] })).toContain(',x\\,y\\\\z,fsname=');
  });

  test('keeps a source that just fits', () => {
    const room = LONGEST - withSource('').length;
    expect(sourceOf(withSource('x'.repeat(room)))).toBe('x'.repeat(room));
    expect(withSource('x'.repeat(room))).toHaveLength(LONGEST);
  });

  test('cuts a longer source from the left', () => {
    const room = LONGEST - withSource('').length;
    const source = 'a'.repeat(3000) + 'b'.repeat(room - 1);
    expect(sourceOf(withSource(source))).toBe(`a${'b'.repeat(room - 1)}`);
  });

  test.each([
    ['of two bytes', '\u00e9'],
    ['of three bytes', '\u30c6'],
    ['of four bytes', '\u{1f4be}'],
    ['of escaped characters', ',\\'],
  ])('cuts a source %s at a character, to at most 1023 bytes', (_name, unit) => {
    const source = `${unit.repeat(1500)}.vmdk`;
    const argument = withSource(source);
    const length = Buffer.byteLength(argument);
    expect(length).toBeLessThanOrEqual(LONGEST);
    expect(length).toBeGreaterThan(LONGEST - 4);
    expect(source.endsWith(sourceOf(argument))).toBe(true);
    // Half a surrogate pair would not survive the way through bytes.
    expect(Buffer.from(argument).toString()).toBe(argument);
  });

  test('never ends in half an escape or begins with one', () => {
    for (let length = 470; length < 520; length++) {
      const argument = withSource(','.repeat(length));
      expect(argument).toMatch(/fsname=(?:\\,)+$/);
      expect(Buffer.byteLength(argument)).toBeLessThanOrEqual(LONGEST);
    }
  });
});
