import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../../src/block/create-image.js';
import { GrainBounds } from '../../../src/block/grain-bounds.js';
import { GrainTables } from '../../../src/block/grain-tables.js';
import { HostFile } from '../../../src/block/host-file.js';
import { COUNTERS_WORDS, LayerCounters } from '../../../src/block/layer-counters.js';
import { openImage } from '../../../src/block/open-image.js';
import { newTableCodec } from '../../../src/block/table-codec.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const GRAIN = 64 * 1024;
const UNALLOCATED = 0;
const ZEROED = 1;

/** An image of four tables with data in grains 1 to 20, and its tables as another thread sees them. */
function openTables(): { write: (grain: number) => void; tables: GrainTables } {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: 2048 * GRAIN, backing: undefined });
  const { description, device } = openImage(image, { readOnly: false });
  onTestFinished(() => {
    device.close();
  });
  const [extent] = description.layers[0]?.extents ?? [];
  if (extent?.kind !== 'sparse') throw new Error('not sparse');
  const file = new HostFile(extent.file);
  const tables = new GrainTables(
    extent.tables,
    file,
    newTableCodec(extent.codec),
    new GrainBounds(extent.bounds, () => Infinity),
    new LayerCounters(new Int32Array(COUNTERS_WORDS)),
  );
  const write = (grain: number): void => {
    device.write(Buffer.alloc(GRAIN, 7), 0, GRAIN, grain * GRAIN);
  };
  for (let grain = 1; grain <= 20; grain++) write(grain);
  return { tables, write };
}

describe('the grains of one kind', () => {
  test('end where another kind begins, or the table', () => {
    const { tables } = openTables();
    expect(tables.kindEnd(0, UNALLOCATED)).toBe(1);
    expect(tables.kindEnd(1, tables.lookup(1))).toBe(21);
    expect(tables.kindEnd(5, tables.lookup(5))).toBe(21);
    expect(tables.kindEnd(21, UNALLOCATED)).toBe(512);
  });

  test('of an unused table are all of it and of those behind it, without loading them', () => {
    const { tables, write } = openTables();
    expect(tables.isUnused(1)).toBe(true);
    expect(tables.kindEnd(600, UNALLOCATED)).toBe(2048);
    expect(tables.kindEnd(600, UNALLOCATED, 1500)).toBe(1500);
    expect(tables.kindEnd(600, UNALLOCATED, 1024)).toBe(1024);
    write(1600);
    expect(tables.kindEnd(600, UNALLOCATED)).toBe(1536);
    expect(tables.lookup(600)).toBe(-1);
  });

  test('are not searched beyond a limit', () => {
    const { tables } = openTables();
    expect(tables.kindEnd(1, tables.lookup(1), 10)).toBe(10);
    expect(tables.kindEnd(1, tables.lookup(1), 30)).toBe(21);
    expect(tables.kindEnd(600, UNALLOCATED, 601)).toBe(601);
  });

  // A caller that saw a hole must not skip what was allocated since, and the data behind it.
  test('follow what the caller saw, not what the grain has become', () => {
    const { tables, write } = openTables();
    write(0);
    expect(tables.kindEnd(0, UNALLOCATED)).toBe(1);
    expect(tables.kindEnd(0, ZEROED)).toBe(1);
    write(600);
    expect(tables.isUnused(1)).toBe(false);
    expect(tables.kindEnd(512, UNALLOCATED)).toBe(600);
  });
});
