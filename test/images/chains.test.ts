/** Parents: how they are found, what they may be, and what shows through many of them. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { writeCowdFile } from '../helpers/cowd-file.js';
import { cowdDisk, seSparseDisk, streamDisk } from '../helpers/delta-kinds.js';
import {
  dataOf,
  errorOf,
  expectContent,
  openDisk,
  readAll,
  readDisk,
} from '../helpers/disk-reading.js';
import { chain, writeDescriptor } from '../helpers/images.js';
import { inspectExtentFile } from '../helpers/inspect-extent.js';
import { type MadeParent, flatParent, grainsOf, pattern } from '../helpers/made-disk.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const SECTOR = 512;

let folder: string;

beforeEach(() => {
  folder = tempFolder();
});

/** `path` as an empty sparse child of `size` bytes whose descriptor has `hint`. */
function child(path: string, parent: MadeParent, hint: string, size = parent.content.length): void {
  const cid = /^CID=([0-9a-f]+)/m.exec(readFileSync(parent.image).toString('latin1'))?.[1] ?? '';
  const descriptor = [
    '# Disk DescriptorFile',
    'version=1',
    'CID=00000abc',
    `parentCID=${cid}`,
    `parentFileNameHint="${hint}"`,
    `RW ${size / SECTOR} SPARSE "x"`,
    '',
  ].join('\n');
  writeSparseFile(path, { sectors: size / SECTOR, grainSectors: 8, tableEntries: 512, descriptor });
}

describe('a parent is found', () => {
  test.each<[string, (folder: string) => string]>([
    ['by its name', () => 'base.vmdk'],
    ['by a relative path', () => './/base.vmdk'],
    ['by an absolute path inside the folder', (vm) => `${vm}/base.vmdk`],
    ['by a Windows path', () => 'C:\\Users\\me\\vm\\base.vmdk'],
    ['by a Windows path with ..', () => '..\\other\\base.vmdk'],
    ['by a UNC path', () => '\\\\server\\share\\base.vmdk'],
    ['by an ESX path', () => '/vmfs/volumes/5f0c-1/some vm/base.vmdk'],
  ])('%s', (_name, hint) => {
    const base = flatParent(folder, 'base', MIB);
    const image = join(folder, 'child.vmdk');
    child(image, base, hint(folder));
    expectContent(image, base.content);
  });

  test.each<[string, (base: string) => string]>([
    ['../base/base.vmdk', () => '../base/base.vmdk'],
    ['an absolute path', (base) => base],
    ['an ESX path of a linked clone', () => '/vmfs/volumes/5f0c-1/base/base.vmdk'],
    ['a Windows path of a linked clone', () => 'D:\\VMs\\base\\base.vmdk'],
  ])('beside the folder by %s, where that is allowed', (_name, hint) => {
    mkdirSync(join(folder, 'base'));
    mkdirSync(join(folder, 'clone'));
    const base = flatParent(join(folder, 'base'), 'base', MIB);
    const image = join(folder, 'clone', 'child.vmdk');
    child(image, base, hint(base.image));
    expect(errorOf(() => openImage(image, { readOnly: true })).code).toBe('VMDK_OUTSIDE_FOLDER');
    const { device } = openImage(image, { readOnly: true, allowOutside: true });
    expect(readDisk(device, 0, MIB).equals(base.content)).toBe(true);
    device.close();
  });
});

describe('a parent whose CID changed', () => {
  test('is refused with both files and values, and used with a notice where that is forced', () => {
    const base = flatParent(folder, 'base', MIB);
    const image = join(folder, 'child.vmdk');
    child(image, base, 'base.vmdk');
    writeFileSync(base.image, readFileSync(base.image, 'latin1').replace('12345678', 'a1'));
    for (const readOnly of [true, false]) {
      const { code, message } = errorOf(() => openImage(image, { readOnly }));
      expect(code).toBe('VMDK_CID_MISMATCH');
      expect(message).toContain(
        `${image}: expects parent CID 12345678, but ${base.image} has CID 000000a1`,
      );
      expect(message).toContain('--force');
    }
    const { device, notices } = openImage(image, { readOnly: true, force: true });
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(/child\.vmdk: expects parent CID 12345678.*000000a1.*going on/);
    expect(readDisk(device, 0, MIB).equals(base.content)).toBe(true);
    device.close();
  });

  test('deep in a chain is found too', () => {
    const base = flatParent(folder, 'base', MIB);
    const middle = { ...base, image: join(folder, 'middle.vmdk') };
    child(middle.image, base, 'base.vmdk');
    child(join(folder, 'top.vmdk'), middle, 'middle.vmdk');
    writeFileSync(base.image, readFileSync(base.image, 'latin1').replace('12345678', 'a1'));
    const { code, message } = errorOf(() =>
      openImage(join(folder, 'top.vmdk'), { readOnly: true }),
    );
    expect(code).toBe('VMDK_CID_MISMATCH');
    expect(message).toMatch(/middle\.vmdk: expects/);
  });

  test.each(['1234567', '12345678', 'ABCDEF01'])('is compared as a number: %s', (cid) => {
    writeFileSync(join(folder, 'a.raw'), Buffer.alloc(4096, 5));
    writeDescriptor(join(folder, 'base.vmdk'), ['RW 8 FLAT "a.raw" 0'], { cid: cid.toLowerCase() });
    const parentCid = cid.padStart(8, '0');
    writeDescriptor(join(folder, 'c.vmdk'), ['RW 8 SPARSE "s.vmdk"'], {
      parentCid,
      hint: 'base.vmdk',
    });
    writeSparseFile(join(folder, 's.vmdk'), { sectors: 8, grainSectors: 8, tableEntries: 512 });
    expect(readAll(join(folder, 'c.vmdk')).equals(Buffer.alloc(4096, 5))).toBe(true);
  });
});

describe('loops', () => {
  test('an image that is its own parent is refused', () => {
    const image = join(folder, 'disk.vmdk');
    writeDescriptor(image, ['RW 8 ZERO'], { cid: '1', parentCid: '1', hint: 'disk.vmdk' });
    expect(errorOf(() => openImage(image, { readOnly: true })).code).toBe('VMDK_CHAIN_LOOP');
  });

  test('a loop below the image is refused, also by a hard link', () => {
    const at = (name: string): string => join(folder, name);
    writeDescriptor(at('top.vmdk'), ['RW 8 ZERO'], { cid: '1', parentCid: '1', hint: 'a.vmdk' });
    writeDescriptor(at('a.vmdk'), ['RW 8 ZERO'], { cid: '1', parentCid: '1', hint: 'b.vmdk' });
    writeDescriptor(at('b.vmdk'), ['RW 8 ZERO'], { cid: '1', parentCid: '1', hint: 'again.vmdk' });
    linkSync(at('a.vmdk'), at('again.vmdk'));
    expect(errorOf(() => openImage(at('top.vmdk'), { readOnly: true })).code).toBe(
      'VMDK_CHAIN_LOOP',
    );
  });
});

const PARENTS: readonly (readonly [string, (folder: string) => MadeParent])[] = [
  ['flat', (at) => flatParent(at, 'base', MIB)],
  ['streamOptimized', (at) => streamDisk(at, 'base', 2048)],
  ['COWD', (at) => cowdDisk(at, 'base', { sectors: 2048, grains: grainsOf(SECTOR, 0, 9, 2047) })],
  [
    'seSparse',
    (at) => seSparseDisk(at, 'base', { sectors: 2048, grains: grainsOf(4096, 0, 9, 255) }),
  ],
  [
    'monolithicSparse',
    (at) => {
      const image = join(at, 'base.vmdk');
      createImage(image, { size: MIB, backing: undefined });
      const { device } = openImage(image, { readOnly: false });
      device.write(pattern(300 * KIB, 2), 0, 300 * KIB, 4097);
      device.close();
      const content = Buffer.alloc(MIB);
      pattern(300 * KIB, 2).copy(content, 4097);
      return { image, files: [image], content };
    },
  ],
];

describe.each(PARENTS)('a parent that is %s', (_name, make) => {
  test.each([
    ['smaller than', MIB + 300 * KIB],
    ['as large as', MIB],
    ['larger than', MIB - 37 * SECTOR],
  ])('and %s its child shows through, and is only read', (_size, size) => {
    const base = make(folder);
    const before = hashesOf(base.files);
    for (const path of base.files) chmodSync(path, 0o444);
    const image = join(folder, 'child.vmdk');
    child(image, base, 'base.vmdk', size);
    const content = Buffer.alloc(size);
    base.content.copy(content);
    expectContent(image, content);
    const { device } = openImage(image, { readOnly: false });
    expect(accessModes(base.files)).toEqual(base.files.map(() => 'read'));
    for (const at of [1000, 4096, 300_000, size - 700]) {
      device.write(pattern(700, 5), 0, 700, at);
      pattern(700, 5).copy(content, at);
    }
    device.zero(100_000, 50_000);
    content.fill(0, 100_000, 150_000);
    device.close();
    expectContent(image, content);
    expect(inspectExtentFile(image)).toEqual(
      expect.objectContaining({ problems: [], uncleanShutdown: 0 }),
    );
    expect(hashesOf(base.files)).toEqual(before);
  });
});

/** The content of files, as hashes, which are compared much faster. */
function hashesOf(files: readonly string[]): string[] {
  return files.map((path) => createHash('sha256').update(readFileSync(path)).digest('hex'));
}

/** How this process has each of `files` open: 'read', 'write', or 'closed'. */
function accessModes(files: readonly string[]): string[] {
  const modes = new Map<string, string>();
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const path = realpathSync(`/proc/self/fd/${fd}`);
      const flags = /^flags:\s+([0-7]+)/m.exec(
        readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'),
      )?.[1];
      const isWritten = (Number.parseInt(flags ?? '0', 8) & 3) !== 0;
      modes.set(path, isWritten || modes.get(path) === 'write' ? 'write' : 'read');
    } catch {
      continue; // the descriptor of the listing itself
    }
  }
  return files.map((path) => modes.get(path) ?? 'closed');
}

/** Layers of the deep chain. */
const DEPTH = 60;

interface DeepChain {
  readonly image: string;
  readonly content: Buffer;
  readonly files: readonly string[];
}

/**
 * A chain of 60 with grains of 4 KiB: each unit of 64 KiB has owners in several layers. Layers differ
 * in size; some have zeroed grains.
 */
function deepChain(): DeepChain {
  const base = flatParent(folder, 'base', MIB);
  let content = base.content;
  let below = base;
  const files = [...base.files];
  let state = 9;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  for (let depth = 1; depth < DEPTH; depth++) {
    // Every ninth layer is short: what lies behind its end in layers below is gone for those above.
    const size = (depth % 9 === 0 ? 1500 : 2048 + 8 * depth) * SECTOR;
    const image = join(folder, `layer-${depth}.vmdk`);
    const grains = new Map<number, Buffer>();
    const zeroed = new Set<number>();
    for (let index = 0; index < 5; index++) {
      const grain = random(Math.floor(size / 4096));
      if (index < 3) grains.set(grain, pattern(4096, depth * 10 + index));
      else if (!grains.has(grain)) zeroed.add(grain);
    }
    const next = Buffer.alloc(size);
    content.copy(next);
    for (const grain of zeroed) next.fill(0, grain * 4096, (grain + 1) * 4096);
    for (const [grain, bytes] of grains) bytes.copy(next, grain * 4096);
    const made = { image, files: [image], content: next };
    const delta = { sectors: size / SECTOR, grainSectors: 8, grains, zeroed };
    writeCowdFile(join(folder, `layer-${depth}-delta.vmdk`), delta);
    chain(image, [`RW ${size / SECTOR} VMFSSPARSE "layer-${depth}-delta.vmdk"`], below.image);
    files.push(image, join(folder, `layer-${depth}-delta.vmdk`));
    below = made;
    content = next;
  }
  return { image: below.image, content, files };
}

describe('a chain of 60 images', () => {
  test('shows what each of them changed', () => {
    const { content, image } = deepChain();
    expectContent(image, content);
    const device = openDisk(image);
    for (const [start, end] of dataOf(device).map(
      ([, end], index, all) => [end, all[index + 1]?.[0] ?? device.size] as const,
    )) {
      expect(content.subarray(start, end).equals(Buffer.alloc(end - start))).toBe(true);
    }
  });

  test('does so whatever is asked first: grain by grain, backwards, holes before data', () => {
    const { content, image } = deepChain();
    const device = openDisk(image);
    for (let at = device.size - 4096; at >= 0; at -= 4096) {
      const data = device.nextData(at, at + 4096);
      const isZero = content.subarray(at, at + 4096).equals(Buffer.alloc(4096));
      if (data === at + 4096) expect(isZero).toBe(true);
      expect(readDisk(device, at, 4096).equals(content.subarray(at, at + 4096))).toBe(true);
    }
  });

  test('is written at its top, and nowhere else', () => {
    const { content, files, image } = deepChain();
    const below = files.slice(0, -2);
    const before = hashesOf(below);
    const { device } = openImage(image, { readOnly: false });
    for (let at = 100; at + 5000 < content.length; at += 70_001) {
      device.write(pattern(5000, at), 0, 5000, at);
      pattern(5000, at).copy(content, at);
      device.zero(at + 10_000, 9000);
      content.fill(0, at + 10_000, at + 19_000);
    }
    device.close();
    expectContent(image, content);
    expect(hashesOf(below)).toEqual(before);
  });

  test('is read by 4 threads that find the owners together', async () => {
    const { content, image } = deepChain();
    const { description, device } = openImage(image, { readOnly: true });
    onTestFinished(() => {
      device.close();
    });
    const engine = new URL('../../dist/block/attach-image.js', import.meta.url).href;
    const code = `
      const { workerData, parentPort } = require('node:worker_threads');
      import(workerData.engine).then(({ attachImage }) => {
        const device = attachImage(workerData.image);
        const content = Buffer.from(workerData.content);
        const bytes = Buffer.alloc(3000);
        for (let round = 0; round < 3; round++)
          for (let at = workerData.seed * 11; at + 3000 <= content.length; at += 2999) {
            device.read(bytes, 0, 3000, at);
            if (!bytes.equals(content.subarray(at, at + 3000))) throw new Error('wrong at ' + at);
          }
        parentPort.postMessage('right');
      });`;
    const answers = [0, 1, 2, 3].map((seed) => {
      const workerData = { engine, image: description, content, seed };
      const worker = new Worker(code, { eval: true, workerData });
      return new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
    });
    expect(await Promise.all(answers)).toEqual(['right', 'right', 'right', 'right']);
  });
});
