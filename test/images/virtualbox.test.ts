/** Images of VirtualBox: a child names its parent by a UUID alone, and modifications by another. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { childrenBeside } from '../../src/block/children-beside.js';
import { createImage } from '../../src/block/create-image.js';
import { mergeChild } from '../../src/block/merge-child.js';
import { openImage } from '../../src/block/open-image.js';
import { openOverlaid } from '../../src/block/overlay.js';
import type { OpenPermissions } from '../../src/block/open-policy.js';
import { mergedModifications } from '../../src/vmdk/virtualbox-link.js';
import { pattern } from '../helpers/made-disk.js';
import { poke } from '../helpers/poke.js';
import { refusal } from '../helpers/refusal.js';
import { check, vmdkfs } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTORS = 1024;
const SIZE = SECTORS * 512;
const NONE = '00000000-0000-0000-0000-000000000000';
const BASE = '11111111-2222-4333-8444-555555555555';
const BASE_STATE = 'aaaaaaaa-2222-4333-8444-555555555555';
const CHILD = '99999999-2222-4333-8444-555555555555';
const CHILD_STATE = 'bbbbbbbb-2222-4333-8444-555555555555';

interface Uuids {
  readonly image: string;
  readonly modification?: string;
  readonly parent?: string;
  readonly parentModification?: string;
}

/** An empty image as VirtualBox makes it. */
function makeImage(path: string, uuids: Uuids): void {
  const { image, modification = NONE, parent = NONE, parentModification = NONE } = uuids;
  const descriptor = [
    '# Disk DescriptorFile',
    'version=1',
    'CID=12345678',
    'parentCID=ffffffff',
    'createType="monolithicSparse"',
    '',
    `RW ${SECTORS} SPARSE "whatever.vmdk"`,
    '',
    `ddb.uuid.image="${image}"`,
    `ddb.uuid.parent="${parent}"`,
    `ddb.uuid.modification="${modification}"`,
    `ddb.uuid.parentmodification="${parentModification}"`,
    '',
  ].join('\n');
  mkdirSync(dirname(path), { recursive: true });
  writeSparseFile(path, { sectors: SECTORS, grainSectors: 128, tableEntries: 512, descriptor });
}

function write(
  path: string,
  offset: number,
  data: Buffer,
  permissions: OpenPermissions = {},
): void {
  const { device } = openImage(path, { ...permissions, readOnly: false, lock: true });
  device.write(data, 0, data.length, offset);
  device.close();
}

function contentOf(path: string, permissions: OpenPermissions = {}): Buffer {
  const { device } = openImage(path, { ...permissions, readOnly: true });
  const content = Buffer.alloc(device.size);
  device.read(content, 0, content.length, 0);
  device.close();
  return content;
}

function valueOf(path: string, key: string): string | undefined {
  const pattern = new RegExp(`^${key.replaceAll('.', '\\.')} ?= ?"?([^"\\n]*)"?$`, 'm');
  return pattern.exec(readFileSync(path, 'latin1'))?.[1];
}

let folder: string;
let base: string;
let child: string;
let content: Buffer;

/** A base with data at `basePath`, and a child of it at `childPath` with data of its own. */
function makePair(basePath: string, childPath: string): void {
  base = basePath;
  child = childPath;
  makeImage(base, { image: BASE, modification: BASE_STATE });
  // Written as VirtualBox would, which then notes the new modification in the child.
  write(base, 0, pattern(200_000, 1));
  const parentModification = valueOf(base, 'ddb.uuid.modification') ?? '';
  makeImage(child, {
    image: CHILD,
    modification: CHILD_STATE,
    parent: BASE,
    parentModification,
  });
  content = Buffer.alloc(SIZE);
  pattern(200_000, 1).copy(content);
}

beforeEach(() => {
  folder = tempFolder();
});

describe('the parent of a child', () => {
  test.each([
    ['beside it', 'base.vmdk', 'child.vmdk'],
    ['in the machine folder, above that of its snapshots', 'base.vmdk', 'Snapshots/{x}.vmdk'],
    ['among the snapshots below', `Snapshots/{${BASE}}.vmdk`, 'machine.vmdk'],
    ['among other snapshots', `Snapshots/{${BASE}}.vmdk`, `Snapshots/{${CHILD}}.vmdk`],
    ['under a name that says nothing', 'a file without an end', 'child.vmdk'],
  ])('is found %s', (_where, basePath, childPath) => {
    makePair(join(folder, basePath), join(folder, childPath));
    expect(contentOf(child).equals(content)).toBe(true);
    const data = pattern(70_000, 2);
    write(child, 100_000, data);
    data.copy(content, 100_000);
    expect(contentOf(child).equals(content)).toBe(true);
  });

  test('is found by three in a row', () => {
    makePair(join(folder, 'base.vmdk'), join(folder, 'Snapshots', `{${CHILD}}.vmdk`));
    write(child, 65_536, pattern(1000, 3));
    pattern(1000, 3).copy(content, 65_536);
    const last = join(folder, 'Snapshots', '{last}.vmdk');
    const parentModification = valueOf(child, 'ddb.uuid.modification') ?? '';
    makeImage(last, { image: NONE.replace('0', '7'), parent: CHILD, parentModification });
    expect(contentOf(last).equals(content)).toBe(true);
  });

  test('in the folder above is looked for only with permission, which the message names', () => {
    makePair(join(folder, 'base.vmdk'), join(folder, 'elsewhere', 'child.vmdk'));
    expect(refusal(child, true)).toMatchObject({
      code: 'VMDK_MISSING_FILE',
      message: `${child}: is a child that VirtualBox made, and its parent, the image with the UUID ${BASE}, is not in ${join(folder, 'elsewhere')}; put it beside the child; where it lies in ${folder}, --allow-outside looks there too`,
    });
    expect(contentOf(child, { allowOutside: true }).equals(content)).toBe(true);
  });

  test('that is nowhere is missed by its UUID', () => {
    makePair(join(folder, 'Snapshots', 'gone.vmdk'), join(folder, 'Snapshots', 'child.vmdk'));
    renameSync(base, join(tempFolder(), 'gone.vmdk'));
    const { message } = refusal(child, true);
    expect(message).toContain(
      `the UUID ${BASE}, is not in ${join(folder, 'Snapshots')} or ${folder}`,
    );
    expect(message).not.toContain('--allow-outside');
  });

  test('of two with its UUID is none', () => {
    makePair(join(folder, 'base.vmdk'), join(folder, 'child.vmdk'));
    writeFileSync(join(folder, 'copy.vmdk'), readFileSync(base));
    const { code, message } = refusal(child, true);
    expect(code).toBe('VMDK_SAME_UUID');
    expect(message).toContain(base);
    expect(message).toContain(join(folder, 'copy.vmdk'));
  });

  test('is not looked for in anything but regular files, and not in more than a thousand', async () => {
    makePair(join(folder, 'z-base.vmdk'), join(folder, 'child.vmdk'));
    await check('mkfifo', join(folder, `{${BASE}}.vmdk`));
    expect(contentOf(child).equals(content)).toBe(true);
    const crowd = tempFolder();
    for (let index = 0; index < 1001; index++) writeFileSync(join(crowd, `${index}.vmdk`), '');
    const lost = join(crowd, 'child.vmdk');
    writeFileSync(lost, readFileSync(child));
    const begin = performance.now();
    expect(refusal(lost, true).code).toBe('VMDK_MISSING_FILE');
    expect(performance.now() - begin).toBeLessThan(20_000);
  });

  test('that is itself goes round in circles no longer than once', () => {
    const path = join(folder, 'loop.vmdk');
    makeImage(path, { image: BASE, parent: BASE });
    expect(refusal(path, true).code).toBe('VMDK_MISSING_FILE');
  });
});

describe('a modification of the parent', () => {
  beforeEach(() => {
    makePair(join(folder, 'base.vmdk'), join(folder, 'child.vmdk'));
  });

  test('changes its UUID in place, and the child does not fit any more', () => {
    const before = valueOf(base, 'ddb.uuid.modification') ?? '';
    const length = readFileSync(base).indexOf('ddb.uuid.parentmodification');
    write(base, 300_000, pattern(10, 4));
    const after = valueOf(base, 'ddb.uuid.modification') ?? '';
    expect(after).toMatch(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(after).not.toBe(before);
    expect(readFileSync(base).indexOf('ddb.uuid.parentmodification')).toBe(length);
    expect(refusal(child, true)).toMatchObject({
      code: 'VMDK_CID_MISMATCH',
      message: `${child}: expects its parent with the modification UUID ${before}, but ${base} has ${after}; the parent was modified after the child was made, and the disk may be a mixture of both; --force goes on all the same`,
    });
    pattern(10, 4).copy(content, 300_000);
    expect(contentOf(child, { force: true }).equals(content)).toBe(true);
  });

  test('is foreseen: the child is named beside it', () => {
    const { chain, device } = openImage(base, { readOnly: true });
    device.close();
    const { descriptor, path } = chain[0]!;
    expect(childrenBeside({ path, identity: '', descriptor })).toEqual([child]);
  });

  test('is found by check, and the link shown by info, map and diff', async () => {
    write(child, 131_072, pattern(512, 5));
    for (const command of ['check', 'info', 'map', 'diff']) {
      const { code, stdout } = await vmdkfs(command, child);
      expect(`${command} ${code}`).toBe(`${command} 0`);
      if (command !== 'check') expect(stdout).toContain(base);
    }
    write(base, 0, pattern(10, 4));
    const { code, stdout } = await vmdkfs('check', child);
    expect(code).toBe(5);
    expect(stdout).toContain('expects its parent with the modification UUID');
  });
});

describe('merging a child', () => {
  const options = {
    permissions: {},
    deleteChild: false,
    lock: true,
    progress: () => undefined,
    warn: () => undefined,
  };

  beforeEach(() => {
    makePair(join(folder, 'base.vmdk'), join(folder, 'child.vmdk'));
  });

  test('keeps it a child that fits, again and again', () => {
    const states = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const data = pattern(5000, 10 + round);
      write(child, 50_000 * round, data);
      data.copy(content, 50_000 * round);
      mergeChild(child, options);
      expect(contentOf(base).equals(content)).toBe(true);
      expect(contentOf(child).equals(content)).toBe(true);
      const state = valueOf(base, 'ddb.uuid.modification') ?? '';
      expect(valueOf(child, 'ddb.uuid.parentmodification')).toBe(state);
      states.add(state);
    }
    expect(states.size).toBe(3);
  });

  test('that was cut off between the two files can be read, and is done again', () => {
    write(child, 0, pattern(5000, 10));
    pattern(5000, 10).copy(content);
    const modification = valueOf(child, 'ddb.uuid.modification');
    const [first = ''] = mergedModifications({
      image: CHILD,
      modification,
      parent: BASE,
      parentModification: undefined,
    });
    const at = readFileSync(base, 'latin1').indexOf(valueOf(base, 'ddb.uuid.modification') ?? '');
    for (const torn of [first, first.slice(0, 20)]) {
      poke(base, at, Buffer.from(torn));
      expect(contentOf(child).equals(content)).toBe(true);
      expect(refusal(child, false).code).toBe('VMDK_MERGE_CUT_OFF');
    }
    mergeChild(child, options);
    expect(contentOf(base).equals(content)).toBe(true);
    expect(contentOf(child).equals(content)).toBe(true);
  });
});

describe('a child of our own over an image of VirtualBox', () => {
  beforeEach(() => {
    makePair(join(folder, 'base.vmdk'), join(folder, 'child.vmdk'));
  });

  test.each(['monolithicSparse', 'seSparse', 'twoGbMaxExtentSparse'] as const)(
    'has both links: %s',
    (subformat) => {
      const own = join(folder, 'own.vmdk');
      createImage(own, { size: undefined, backing: base, subformat });
      expect(valueOf(own, 'ddb.uuid.parent')).toBe(BASE);
      expect(valueOf(own, 'ddb.uuid.parentmodification')).toBe(
        valueOf(base, 'ddb.uuid.modification'),
      );
      expect(valueOf(own, 'parentCID')).toBe(valueOf(base, 'CID'));
      expect(valueOf(own, 'parentFileNameHint')).toBe('base.vmdk');
      expect(valueOf(own, 'ddb.uuid.image')).toMatch(/^[0-9a-f-]{36}$/);
      expect(contentOf(own).equals(content)).toBe(true);
      // VirtualBox changes its own UUID and leaves the CID.
      const at = readFileSync(base, 'latin1').indexOf(valueOf(base, 'ddb.uuid.modification') ?? '');
      poke(base, at, Buffer.from('cccc'));
      expect(refusal(own, true).code).toBe('VMDK_CID_MISMATCH');
    },
  );

  test('has neither where VirtualBox does not know the parent', () => {
    const [plain, own] = [join(folder, 'plain.vmdk'), join(folder, 'own.vmdk')];
    createImage(plain, { size: SIZE, backing: undefined });
    createImage(own, { size: undefined, backing: plain });
    expect(readFileSync(own, 'latin1')).not.toContain('ddb.uuid');
  });

  test('as an overlay has both, and VirtualBox’s own child is one', () => {
    const path = join(folder, 'overlay.vmdk');
    const open = (overlay: string): Buffer => {
      const { image } = openOverlaid(base, { readOnly: false }, { kind: 'file', path: overlay });
      const found = Buffer.alloc(SIZE);
      image.device.read(found, 0, SIZE, 0);
      image.device.write(pattern(9, 9), 0, 9, 0);
      image.device.close();
      return found;
    };
    expect(open(path).equals(content)).toBe(true);
    expect(valueOf(path, 'ddb.uuid.parent')).toBe(BASE);
    pattern(9, 9).copy(content);
    expect(open(path).equals(content)).toBe(true);
    expect(() => open(child)).not.toThrow();
    const other = join(folder, 'other.vmdk');
    makeImage(other, { image: CHILD, parent: CHILD });
    expect(() => open(other)).toThrow(/is the child of the image with the UUID 99999999/);
  });
});
