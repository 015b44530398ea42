import { describe, expect, test, vi } from 'vitest';
import { BROKEN_ORDERS } from './broken-orders.js';
import { TINY_DISKS } from './tiny-disks.js';
import { CrashRun } from './crash-run.js';

vi.mock('node:fs', async (original) => {
  const { fsInMemory } = await import('./memory-host.js');
  return fsInMemory(await original());
});
vi.mock('../../src/os/file-io.js', async (original) => {
  const { fileIoInMemory } = await import('./memory-host.js');
  return fileIoInMemory(await original());
});

/** An order that is broken shows long before. */
const STATES = 8000;

const disks = TINY_DISKS.map((make) => make());

/**
 * On which disks an order shows before long, by words of their names. A new table that is lost reads
 * as an empty one where nothing was at its place, and nothing that was flushed is in it.
 */
const CASES: readonly (readonly [keyof typeof BROKEN_ORDERS, RegExp])[] = [
  ['no barrier between data and tables', /^sparse|child|COWD/],
  ['no barrier between tables and directories', /COWD|seSparse/],
  ['the record of used space behind the tables', /COWD|seSparse/],
  ['a flush that ends without a barrier', /./],
];

describe.each(CASES)('%s', (order, names) => {
  test.each(disks.filter(({ name }) => names.test(name)))('is noticed: $name', (disk) => {
    const crashes = new CrashRun({ change: BROKEN_ORDERS[order], untilWrong: true });
    crashes.run(disk, STATES);
    expect(crashes.counts.violationCount).toBeGreaterThan(0);
  });
});
