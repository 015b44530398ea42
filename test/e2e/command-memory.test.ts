/** How much memory commands take for an image of many small grains that lie apart. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SECTOR = 512;
const MIB = 1024 * 1024;
const TABLE_ENTRIES = 4096;
const TABLE_SECTORS = (TABLE_ENTRIES * 4) / SECTOR;

/** What a command may take beyond what any takes. */
const BYTES_ALLOWED = 64 * MIB;
const BYTES_PER_GRAIN = 16;

/**
 * A COWD image with all of its `grains` of one sector, in no order, and a sector between any two that
 * nothing leads to.
 */
function makeScattered(grains: number): string {
  const image = join(tempFolder(), 'disk.vmdk');
  createImage(image, { size: grains * SECTOR, backing: undefined, subformat: 'vmfsSparse' });
  const fd = openSync(image.replace('.vmdk', '-delta.vmdk'), 'r+');
  try {
    const header = Buffer.alloc(2048);
    readSync(fd, header, 0, header.length, 0);
    const [gdOffset, tables, free] = [20, 24, 28].map((at) => header.readUInt32LE(at));
    if (gdOffset === undefined || tables === undefined || free === undefined) throw new Error();
    const first = free + tables * TABLE_SECTORS;
    const directory = Buffer.alloc(tables * 4);
    const words = new Uint32Array(TABLE_ENTRIES);
    for (let table = 0; table < tables; table++) {
      const place = free + table * TABLE_SECTORS;
      directory.writeUInt32LE(place, table * 4);
      words.forEach((_, index) => {
        // An odd factor makes an order of its own of a power of two.
        const order = ((table * TABLE_ENTRIES + index) * 104_729) % grains;
        words[index] = first + 2 * order;
      });
      writeSync(fd, new Uint8Array(words.buffer), 0, words.byteLength, place * SECTOR);
    }
    writeSync(fd, directory, 0, directory.length, gdOffset * SECTOR);
    const data = Buffer.alloc(MIB, 0x55);
    const end = (first + 2 * grains) * SECTOR;
    for (let at = first * SECTOR; at < end; at += MIB) {
      writeSync(fd, data, 0, Math.min(MIB, end - at), at);
    }
    header.writeUInt32LE(end / SECTOR, 28);
    writeSync(fd, header, 0, header.length, 0);
  } finally {
    closeSync(fd);
  }
  return image;
}

/** Runs a command and tells the most memory that it had, in KiB. */
const MEASURE = `
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ended.returncode)
`;

/** Most memory that a command takes, in bytes. */
async function memoryOf(...args: readonly string[]): Promise<number> {
  const kib = await check('python3', '-c', MEASURE, process.execPath, CLI, ...args);
  return Number(kib) * 1024;
}

const isAbsent = isMissing('memory of commands', 'python3');
describe.skipIf(isAbsent)('COWD grains of one sector that lie apart', () => {
  // What was kept of each run took most of what map took.
  test.each([
    [512 * 1024, ['check']],
    [512 * 1024, ['compact']],
    [128 * 1024, ['map', '--json']],
  ])(
    '%i of them: %s takes 64 MiB and 16 bytes for each',
    { timeout: 180_000 },
    async (grains, command) => {
      const image = makeScattered(grains);
      const start = await memoryOf('--version');
      const taken = (await memoryOf(...command, image)) - start;
      console.log(`${command.join(' ')}, ${grains} grains: ${Math.round(taken / MIB)} MiB`);
      expect(taken).toBeLessThan(BYTES_ALLOWED + grains * BYTES_PER_GRAIN);
    },
  );

  test('map --json prints what one array would be', async () => {
    const image = makeScattered(TABLE_ENTRIES);
    const text = await check(process.execPath, CLI, 'map', '--json', image);
    const runs = JSON.parse(text) as { readonly length: number }[];
    expect(runs).toHaveLength(TABLE_ENTRIES);
    expect(text).toBe(`${JSON.stringify(runs, undefined, 2)}\n`);
  });
});
