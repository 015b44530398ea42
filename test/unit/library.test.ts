/** The library takes the options that it honours, and no others. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  createImage,
  openImage,
  type CreateOptions,
  type OpenOptions,
  type OpenPermissions,
} from '../../src/library.js';
import { cidOf } from '../helpers/made-child.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;

let folder: string;
let image: string;

beforeEach(() => {
  folder = tempFolder();
  image = join(folder, 'disk.vmdk');
  createImage(image, { size: MIB });
});

/** What a program in JavaScript may pass. */
function untyped(options: Readonly<Record<string, unknown>>): never {
  return options as never;
}

describe('openImage', () => {
  test('honours what its types have', () => {
    const options: Required<OpenOptions> = {
      readOnly: false,
      disk: undefined,
      lock: false,
      allowOutside: true,
      allowDevices: true,
      force: true,
      dropChangeTracking: true,
    };
    const device = openImage(image, options);
    device.write(Buffer.alloc(512, 1), 0, 512, 0);
    device.close();
    const nothing = Object.fromEntries(Object.keys(options).map((name) => [name, undefined]));
    const second = openImage(image, untyped(nothing));
    expect(second.readOnly).toBe(true);
    expect(() => openImage(image, { readOnly: false })).toThrow('is in use');
    second.close();
  });

  test.each(['parent', 'tableMemory', 'isMerge', 'newCid', 'readonly', 'toString'])(
    'refuses %s',
    (name) => {
      const before = cidOf(image);
      expect(() => openImage(image, untyped({ readOnly: false, [name]: true }))).toThrow(
        new TypeError(
          `openImage: "${name}" is no option (readOnly, disk, lock, dropChangeTracking, allowOutside, allowDevices, force expected)`,
        ),
      );
      expect(cidOf(image)).toBe(before);
    },
  );

  test.each([
    ['readOnly', 'no', 'a string (a boolean expected)'],
    ['lock', 0, 'a number (a boolean expected)'],
    ['force', null, 'null (a boolean expected)'],
    ['disk', 1, 'a number (a string expected)'],
  ])('refuses %s: %j', (name, value, words) => {
    const failure = new TypeError(`openImage: ${name} is ${words}`);
    expect(() => openImage(image, untyped({ [name]: value }))).toThrow(failure);
  });
});

describe('createImage', () => {
  test('honours what its types have', () => {
    const inner = join(folder, 'child.vmdk');
    const permissions: Required<OpenPermissions> = {
      allowOutside: true,
      allowDevices: true,
      force: true,
    };
    const options: Required<CreateOptions> = {
      size: 2 * MIB,
      backing: image,
      subformat: 'vmfsSparse',
      adapter: 'ide',
      permissions,
      lock: true,
    };
    expect(createImage(inner, options)).toBe(2 * MIB);
    expect(openImage(inner).size).toBe(2 * MIB);
  });

  test.each(['home', 'force', 'sise'])('refuses %s', (name) => {
    const path = join(folder, 'new.vmdk');
    expect(() => createImage(path, untyped({ size: MIB, [name]: '/' }))).toThrow(
      new TypeError(
        `createImage: "${name}" is no option (size, backing, subformat, adapter, permissions, lock expected)`,
      ),
    );
    expect(existsSync(path)).toBe(false);
  });

  test.each(['readOnly', 'dropChangeTracking', 'isMerge', 'newCid'])(
    'refuses the permission %s',
    (name) => {
      const path = join(folder, 'new.vmdk');
      const options = { size: MIB, permissions: { [name]: true } };
      expect(() => createImage(path, untyped(options))).toThrow(
        new TypeError(
          `createImage: permissions: "${name}" is no option (allowOutside, allowDevices, force expected)`,
        ),
      );
      expect(existsSync(path)).toBe(false);
    },
  );

  test.each([
    ['subformat', 'floppy', RangeError],
    ['subformat', 'streamOptimized', RangeError],
    ['adapter', 'usb', RangeError],
    ['size', '1M', TypeError],
    ['permissions', true, TypeError],
  ])('refuses %s: %j', (name, value, kind) => {
    const path = join(folder, 'new.vmdk');
    const options = untyped({ size: MIB, [name]: value });
    expect(() => createImage(path, options)).toThrow(kind);
    expect(() => createImage(path, options)).toThrow(/ expected\)$/);
    expect(existsSync(path)).toBe(false);
  });
});

test('the types have no others', () => {
  const path = join(folder, 'new.vmdk');
  // @ts-expect-error -- of a merge only
  expect(() => openImage(image, { isMerge: true })).toThrow(TypeError);
  // @ts-expect-error -- of a merge only
  expect(() => openImage(image, { newCid: 1 })).toThrow(TypeError);
  // @ts-expect-error -- the parent is only read
  expect(() => createImage(path, { size: MIB, permissions: { readOnly: false } })).toThrow(
    TypeError,
  );
  expect(statSync(image).isFile()).toBe(true);
});
