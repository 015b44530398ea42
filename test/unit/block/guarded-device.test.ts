import { beforeEach, describe, expect, test } from 'vitest';
import { join } from 'node:path';
import {
  createImage,
  listDisks,
  openImage,
  VmdkError,
  type ImageDevice,
} from '../../../src/library.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const SIZE = 2 ** 20;

let path: string;
let disk: ImageDevice;
beforeEach(() => {
  path = join(tempFolder(), 'disk.vmdk');
  createImage(path, { size: SIZE });
  disk = openImage(path, { readOnly: false });
  return () => {
    disk.close();
  };
});

describe('a device of the library', () => {
  test('does what the engine does', () => {
    const bytes = Buffer.alloc(700, 7);
    disk.write(bytes, 0, 700, SIZE - 700);
    disk.zero(SIZE - 100, 100);
    disk.flush();
    const back = Buffer.alloc(700);
    disk.read(back, 0, 700, SIZE - 700);
    expect(back).toEqual(Buffer.concat([bytes.subarray(100), Buffer.alloc(100)]));
    // In the last grain; how much of that is a hole, the host says.
    const data = disk.nextData(0, SIZE);
    expect(data).toBeGreaterThanOrEqual(SIZE - 65_536);
    expect(data).toBeLessThanOrEqual(SIZE - 700);
    expect(disk.nextHole(0, SIZE)).toBe(0);
    expect(disk.allocatedBytes()).toBeGreaterThan(0);
    expect(disk.notices).toEqual([]);
  });

  const bytes = Buffer.alloc(512);
  test.each<[string, () => void]>([
    [
      'a read past the end',
      () => {
        disk.read(bytes, 0, 512, SIZE - 511);
      },
    ],
    [
      'a read before the start',
      () => {
        disk.read(bytes, 0, 512, -1);
      },
    ],
    [
      'a read of less than nothing',
      () => {
        disk.read(bytes, 0, -1, 0);
      },
    ],
    [
      'a read of half a byte',
      () => {
        disk.read(bytes, 0, 0.5, 0);
      },
    ],
    [
      'a read into too little',
      () => {
        disk.read(bytes, 1, 512, 0);
      },
    ],
    [
      'a write past the end',
      () => {
        disk.write(bytes, 0, 512, SIZE);
      },
    ],
    [
      'a write of more than there is',
      () => {
        disk.write(bytes, 0, 513, 0);
      },
    ],
    [
      'zeros past the end',
      () => {
        disk.zero(SIZE - 1, 2);
      },
    ],
    [
      'a question past the end',
      () => {
        disk.nextData(0, SIZE + 1);
      },
    ],
    [
      'a question backwards',
      () => {
        disk.nextHole(2, 1);
      },
    ],
  ])('refuses %s', (_name, use) => {
    expect(use).toThrow(RangeError);
    disk.read(bytes, 0, 512, SIZE - 512);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('is of no use when it is closed, and closed as often as you like', () => {
    disk.close();
    disk.close();
    for (const use of [
      () => {
        disk.read(bytes, 0, 1, 0);
      },
      () => {
        disk.write(bytes, 0, 1, 0);
      },
      () => {
        disk.zero(0, 1);
      },
      () => {
        disk.flush();
      },
      () => disk.nextData(0, 1),
      () => disk.allocatedBytes(),
    ]) {
      expect(use).toThrow(expect.objectContaining({ code: 'EBADF' }));
    }
  });

  test('is read-only and locked unless told otherwise', () => {
    expect(() => openImage(path)).toThrow(expect.objectContaining({ code: 'VMDK_IN_USE' }));
    const unlocked = openImage(path, { lock: false });
    expect(unlocked.readOnly).toBe(true);
    expect(() => {
      unlocked.write(bytes, 0, 1, 0);
    }).toThrow(expect.objectContaining({ code: 'EROFS' }));
    unlocked.close();
  });
});

describe('the library', () => {
  test.each([[0], [-512], [0.5], [Number.NaN], [undefined]])(
    'makes no image of size %s',
    (size) => {
      const other = `${path}.other`;
      expect(() => createImage(other, { size })).toThrow(RangeError);
      expect(() => openImage(other)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    },
  );

  test('makes a child of the size of its parent', () => {
    disk.close();
    const child = `${path}.child`;
    expect(createImage(child, { backing: path })).toBe(SIZE);
    const opened = openImage(child);
    expect(opened.size).toBe(SIZE);
    opened.close();
  });

  test('says what is wrong with an image', () => {
    expect(() => openImage(import.meta.filename)).toThrow(VmdkError);
    expect(listDisks(path)).toBeUndefined();
  });
});
