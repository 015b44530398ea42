/** What `check --repair` keeps its hands off, and what it says of that. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openImage } from '../../src/block/open-image.js';
import { checkImageFile, expectLasting, foundIn, repairImage } from '../helpers/checked.js';
import { chain, writeDescriptor } from '../helpers/images.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { GT, makeSmallDisk, pokeAll } from '../helpers/small-extent.js';
import { tempFolder } from '../helpers/temp-folder.js';

describe('an extent with damage that could be mended', () => {
  let image: string;
  let file: string;

  beforeEach(() => {
    ({ file, image } = makeSmallDisk());
    pokeAll(file, [[GT[0] + 4, 0x7fffffff]]);
  });

  /** Checks that nothing is mended, and that the reason is said, also without `repair`. */
  function expectKept(reason: string): void {
    expectLasting(image, file);
    const notice = `${file}: cannot be mended: ${reason}`;
    for (const report of [checkImageFile(image), repairImage(image)]) {
      expect(foundIn(report).map(({ kind }) => kind)).toEqual(['beyond-end']);
      expect(report.mendable).toEqual([]);
      expect(report.notices.filter((text) => text.startsWith(notice))).toHaveLength(1);
    }
  }

  test('is mended', () => {
    expect(repairImage(image)).toMatchObject({ notices: [], mended: [{ kind: 'beyond-end' }] });
  });

  test('is kept where its header has flags that are not known', () => {
    const flags = peek(file, 8, 4).readUInt32LE();
    poke(file, 8, littleEndian(flags | 0x40, 4));
    expectKept('its header has flags that are not known (0x40)');
  });

  test('is kept where its header says that changes are tracked', () => {
    poke(file, 4, littleEndian(3, 4));
    expectKept('its changes are tracked');
  });

  test('is kept where the descriptor says so', () => {
    const text = readFileSync(image, 'latin1');
    const line = '# Change Tracking File\nchangeTrackPath="disk-ctk.vmdk"\n';
    writeFileSync(image, text.replace('# The Disk Data Base', `${line}\n# The Disk Data Base`));
    expectKept('its changes are tracked');
  });

  test('is not spoken of where nothing could be mended', () => {
    poke(file, 4, littleEndian(3, 4));
    pokeAll(file, [[GT[0] + 4, peek(file, GT[0] + 8, 4).readUInt32LE()]]);
    expect(checkImageFile(image).notices).toEqual([]);
  });

  test('is kept where another extent of the disk is tracked', () => {
    const other = makeSmallDisk();
    poke(other.file, 4, littleEndian(3, 4));
    writeFileSync(join(image, '..', 'second.vmdk'), readFileSync(other.file));
    const line = readFileSync(image, 'latin1')
      .split('\n')
      .find((text) => text.startsWith('RW'))!;
    writeDescriptor(image, [line, line.replace(/"[^"]+"/, '"second.vmdk"')]);
    expectKept('its changes are tracked');
  });
});

describe('a chain', () => {
  /** An image with so many links to its base, that included. */
  function chainOf(links: number): string {
    const folder = tempFolder();
    const line = ['RW 8 ZERO'];
    const pathOf = (index: number): string => join(folder, `disk-${index}.vmdk`);
    writeDescriptor(pathOf(1), line);
    for (let index = 2; index <= links; index++) chain(pathOf(index), line, pathOf(index - 1));
    return pathOf(links);
  }

  test('of 256 links is sound', () => {
    const image = chainOf(256);
    expect(checkImageFile(image).problems.list).toEqual([]);
    openImage(image, { readOnly: true }).device.close();
  });

  test('of 257 links is too long, as it is for a mount', () => {
    const image = chainOf(257);
    expect(() => openImage(image, { readOnly: true })).toThrow(/more than 256 links/);
    const { problems } = checkImageFile(image);
    expect(problems.list).toMatchObject([{ kind: 'unusable', severity: 'error', file: image }]);
    expect(problems.list[0]?.message).toMatch(/^has more than 256 links to its base/);
  });
});
