/** Which files beside an image are its children, and how far that is looked for. */
import {
  copyFileSync,
  fstatSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { childrenBeside, describeChildren } from '../../src/block/children-beside.js';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { SUBFORMATS, factsOfSubformat, type Subformat } from '../../src/vmdk/subformat.js';
import { writeDisk } from '../helpers/checked.js';
import { writeDescriptor } from '../helpers/images.js';
import { cidOf } from '../helpers/made-child.js';
import { check } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SIZE = 1024 * 1024;

let folder: string;
let base: string;

beforeEach(() => {
  folder = tempFolder();
  base = join(folder, 'base.vmdk');
  createImage(base, { size: SIZE, backing: undefined });
});

/** The children of the image at `path`, as it is opened. */
function childrenOf(path: string, except?: string): string[] {
  const image = openImage(path, { readOnly: true });
  try {
    const fd = image.description.layers[0]!.descriptor.file.fd;
    return childrenBeside({ ...image.chain[0]!, identity: identityOf(fd) }, except).sort();
  } finally {
    image.device.close();
  }
}

function identityOf(file: number | string): string {
  const { dev, ino } = typeof file === 'number' ? fstatSync(file) : statSync(file);
  return `${dev}:${ino}`;
}

function makeChild(name: string, subformat?: Subformat): string {
  const path = join(folder, name);
  createImage(path, { size: undefined, backing: base, ...(subformat && { subformat }) });
  return path;
}

/** The descriptor of a child of `base` that is a text file, its parent called `hint`. */
function describeChild(name: string, hint: string, lines: readonly string[] = []): string {
  const path = join(folder, name);
  const extents = [`RW ${SIZE / 512} SPARSE "${name}.extent"`, ...lines];
  writeDescriptor(path, extents, { hint, parentCid: cidOf(base) });
  return path;
}

describe('a child is', () => {
  const kinds = SUBFORMATS.filter((name) => factsOfSubformat(name).canBeChild);

  test.each(kinds)('an image of any kind whose parent it is: %s', (subformat) => {
    expect(childrenOf(base)).toEqual([]);
    const child = makeChild('top', subformat);
    expect(childrenOf(base)).toEqual([child]);
    expect(childrenOf(child)).toEqual([]);
    expect(childrenOf(base, identityOf(child))).toEqual([]);
  });

  test('one that calls it by another of its names', () => {
    linkSync(base, join(folder, 'hard.vmdk'));
    symlinkSync('base.vmdk', join(folder, 'soft.vmdk'));
    const names = ['hard.vmdk', 'soft.vmdk', './base.vmdk', base, String.raw`C:\vm\base.vmdk`];
    const children = names.map((hint, index) => describeChild(`${index}`, hint));
    expect(childrenOf(base)).toEqual(children);
    expect(childrenOf(join(folder, 'soft.vmdk'))).toEqual(children);
  });

  test('one beside the file where the image is named by a link, and one beside the link', () => {
    const child = makeChild('top.vmdk');
    const other = join(folder, 'other');
    mkdirSync(other);
    const link = join(other, 'link.vmdk');
    symlinkSync('../base.vmdk', link);
    const beside = join(other, 'beside.vmdk');
    writeDescriptor(beside, [`RW ${SIZE / 512} SPARSE "x"`], {
      hint: 'link.vmdk',
      parentCid: cidOf(base),
    });
    expect(childrenOf(link)).toEqual([beside, child].sort());
  });

  test('one whose descriptor goes on behind what is looked at', () => {
    const lines = Array.from({ length: 4000 }, (_, at) => `RW 128 SPARSE "a file called ${at}"`);
    const child = describeChild('long', 'base.vmdk', lines);
    expect(statSync(child).size).toBeGreaterThan(128 * 1024);
    expect(childrenOf(base)).toEqual([child]);
  });
});

describe('no child is', () => {
  test('one of a parent with the same name and CID elsewhere, or of another state', () => {
    const child = makeChild('top.vmdk');
    const other = join(folder, 'other');
    mkdirSync(other);
    copyFileSync(base, join(other, 'base.vmdk'));
    expect(childrenOf(join(other, 'base.vmdk'))).toEqual([]);
    copyFileSync(child, join(other, 'top.vmdk'));
    expect(childrenOf(base)).toEqual([child]);
    writeDisk(base, Buffer.alloc(512, 1), 0);
    expect(childrenOf(base)).toEqual([]);
  });

  test('what is no image, or a damaged one', () => {
    const child = makeChild('a.vmdk');
    truncateSync(child, 500);
    writeFileSync(join(folder, 'b.vmdk'), '');
    writeFileSync(join(folder, 'c.vmdk'), Buffer.alloc(100_000, 255));
    writeFileSync(join(folder, 'd.vmdk'), '# Disk DescriptorFile\nCID=none\nRW x\n');
    mkdirSync(join(folder, 'e.vmdk'));
    symlinkSync('nowhere', join(folder, 'f.vmdk'));
    symlinkSync('loop', join(folder, 'loop'));
    const lost = describeChild('g.vmdk', 'loop');
    expect(childrenOf(base)).toEqual([]);
    writeFileSync(lost, readFileSync(lost, 'latin1').replace('"loop"', '"base.vmdk"'));
    expect(childrenOf(base)).toEqual([lost]);
  });

  test('a FIFO, which is not waited for', { timeout: 20_000 }, async () => {
    for (const name of ['x.vmdk', 'y.vmdk']) {
      await check('mkfifo', join(folder, name));
    }
    const child = makeChild('z.vmdk');
    expect(childrenOf(base)).toEqual([child]);
  });
});

describe('looked at are', () => {
  test('a thousand files, those first that are called as images are', () => {
    for (let index = 0; index < 1200; index++) writeFileSync(join(folder, `file ${index}`), 'x');
    const child = makeChild('top.vmdk');
    expect(childrenOf(base)).toEqual([child]);
    for (let index = 0; index < 1200; index++) {
      writeFileSync(join(folder, `file ${index}.vmdk`), 'x');
    }
    renameSync(child, join(folder, 'top'));
    expect(childrenOf(base)).toEqual([]);
  });

  test('the first 64 KiB of each', () => {
    const child = describeChild('top', 'base.vmdk');
    const [head, hint] = readFileSync(child, 'latin1').split(/(?=parentFileNameHint)/);
    const comment = `${'#'.padEnd(63)}\n`.repeat(1023);
    writeFileSync(child, `${head}${comment}${hint}`);
    expect(childrenOf(base)).toEqual([]);
    writeFileSync(child, `${head}${comment.slice(0, -1024)}${hint}`);
    expect(childrenOf(base)).toEqual([child]);
  });
});

test('children are named, three at most', () => {
  expect(describeChildren(['a'])).toBe('has a child, a, that no longer fits');
  expect(describeChildren(['a'], true)).toBe('has another child, a, that no longer fits');
  expect(describeChildren(['a', 'b'])).toBe('has 2 children, a and b, that no longer fit');
  expect(describeChildren(['a', 'b', 'c'], true)).toBe(
    'has 3 other children, a, b and c, that no longer fit',
  );
  expect(describeChildren(['a', 'b', 'c', 'd', 'e'])).toBe(
    'has 5 children, a, b, c and 2 more, that no longer fit',
  );
});
