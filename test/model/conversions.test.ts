/**
 * Conversions of every make of disk to every kind of image, and on to the next: what the disk holds
 * stays the same, our check finds nothing, and QEMU reads the same where it knows the kind.
 */
import { readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TargetKind } from '../../src/block/convert/new-target.js';
import { openImage } from '../../src/block/open-image.js';
import { convert, type ConversionOptions } from '../../src/mount/conversion.js';
import { SUBFORMATS } from '../../src/vmdk/subformat.js';
import { checkImageFile, contentOf } from '../helpers/checked.js';
import { DISK_KINDS } from '../helpers/disk-kinds.js';
import { pattern } from '../helpers/made-disk.js';
import { blockOf, placesOf } from '../helpers/random-writes.js';
import { isMissing } from '../helpers/requirements.js';
import { check } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const KIB = 1024;
const MIB = 1024 * KIB;

const KINDS: readonly TargetKind[] = [...SUBFORMATS, 'streamOptimized', 'raw'];

/** What QEMU 7 opens of our kinds. */
const QEMUS: readonly TargetKind[] = [
  'monolithicSparse',
  'monolithicFlat',
  'twoGbMaxExtentSparse',
  'twoGbMaxExtentFlat',
  'streamOptimized',
  'raw',
];

const hasQemu = !isMissing('conversions read by QEMU', 'qemu');

function to(kind: TargetKind, others: Partial<ConversionOptions> = {}): ConversionOptions {
  return {
    kind,
    parent: undefined,
    adapter: undefined,
    permissions: {},
    disk: undefined,
    lock: false,
    form: 'any',
    replace: false,
    threads: 1,
    progress: () => undefined,
    ...others,
  };
}

/** What is on the disk `image`, whatever kind it is. */
function holds(image: string, kind: TargetKind, content: Buffer): void {
  if (kind !== 'raw') {
    expect(contentOf(image).equals(content)).toBe(true);
    expect(checkImageFile(image).problems.list).toEqual([]);
  }
}

async function sameForQemu(plain: string, image: string, kind: TargetKind): Promise<void> {
  if (!hasQemu || !QEMUS.includes(kind)) return;
  const format = kind === 'raw' ? 'raw' : 'vmdk';
  const said = await check('qemu-img', 'compare', '-f', 'raw', '-F', format, plain, image);
  expect(said).toContain('identical');
}

/** Writes some blocks all over a disk, and a whole grain of zeros. */
function scribble(image: string, content: Buffer, seed: number): void {
  const { device } = openImage(image, { readOnly: false });
  placesOf(seed, 40, 512, content.length).forEach((offset, index) => {
    const block = blockOf(index, 512);
    device.write(block, 0, 512, offset);
    block.copy(content, offset);
  });
  const zeros = Math.min(128 * KIB, content.length);
  device.zero(0, zeros);
  content.fill(0, 0, zeros);
  device.close();
}

describe('conversions keep what the disk holds', () => {
  test.each(DISK_KINDS)('of $name', async (kind) => {
    const folder = tempFolder();
    const { content, image } = kind.make(folder);
    scribble(image, content, 7);
    const plain = join(folder, 'plain');
    writeFileSync(plain, content);
    // All to all takes long: each goes to some kinds, and each kind is made of many.
    const number = DISK_KINDS.indexOf(kind);
    const every = kind.isLarge === true ? 4 : 2;
    const targets = KINDS.filter((_, index) => (index + number) % every === 0);
    let from = image;
    for (const target of targets) {
      const out = join(folder, `to-${target}.vmdk`);
      const result = await convert(from, out, to(target));
      expect(result.size).toBe(content.length);
      holds(out, target, content);
      await sameForQemu(plain, out, target);
      // The next one comes of this one.
      from = out;
    }
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test.each(KINDS)('of a plain file that is no whole sector, to %s', async (kind) => {
    const folder = tempFolder();
    const plain = join(folder, 'plain');
    const content = Buffer.alloc(3 * MIB + 512);
    pattern(70 * KIB, 3).copy(content, MIB - 5 * KIB);
    content.write('the end', content.length - 512);
    writeFileSync(plain, content);
    truncateSync(plain, content.length - 100);
    const out = join(folder, 'out.vmdk');
    expect((await convert(plain, out, to(kind))).size).toBe(content.length);
    holds(out, kind, content);
    truncateSync(plain, content.length);
    await sameForQemu(plain, out, kind);
  });
});

describe('a child', () => {
  test.each(SUBFORMATS.filter((kind) => /sparse/i.test(kind)))(
    'of kind %s holds what differs from its parent',
    async (kind) => {
      const folder = tempFolder();
      const sub = join(folder, 'base.vmdk');
      const base = pattern(4 * MIB, 1);
      base.fill(0, 2 * MIB, 3 * MIB);
      writeFileSync(join(folder, 'base'), base);
      await convert(join(folder, 'base'), sub, to('monolithicSparse'));
      const content = Buffer.concat([base, Buffer.alloc(MIB)]);
      content.fill(0, 64 * KIB, 192 * KIB); // zeros over data
      pattern(4 * KIB, 9).copy(content, 2 * MIB + 8 * KIB); // data over a hole
      content.fill(7, 4 * MIB + 64 * KIB, 4 * MIB + 65 * KIB); // behind the parent's end
      writeFileSync(join(folder, 'new'), content);
      const out = join(folder, 'child.vmdk');
      const result = await convert(join(folder, 'new'), out, to(kind, { parent: sub }));
      holds(out, kind, content);
      expect(result.allocated).toBeLessThan(MIB);
      const { chain, device } = openImage(out, { readOnly: true });
      device.close();
      expect(chain.map(({ path }) => path)).toEqual([out, sub]);
      if (kind !== 'monolithicSparse' && kind !== 'twoGbMaxExtentSparse') return;
      rmSync(join(folder, 'base'));
      if (hasQemu) await sameForQemu(join(folder, 'new'), out, kind);
    },
  );
});
