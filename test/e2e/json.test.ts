/** docs/json.md is true: every command with --json prints what stands there, all of it is met. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/program.js';
import { writeDisk } from '../helpers/checked.js';
import { newImage } from '../helpers/images.js';
import { mismatch, parseShapes } from '../helpers/json-shapes.js';
import { pattern } from '../helpers/made-disk.js';
import { mountImage } from '../helpers/mounted.js';
import { writeOva } from '../helpers/ova-file.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { isMissing, type Requirement } from '../helpers/requirements.js';
import { shell, vmdkfs } from '../helpers/run.js';
import { streamDescriptor, writeStreamFile } from '../helpers/stream-file.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { swap } from '../helpers/volume-contents.js';

const GRAIN = 65536;

/** An image with three grains of data. */
async function writtenImage(): Promise<string> {
  const image = await newImage('64M');
  writeDisk(image, pattern(3 * GRAIN, 1), 0);
  return image;
}

/** A child of an image, with a grain of its own. */
async function writtenChild(): Promise<string> {
  const base = await writtenImage();
  const child = join(base, '..', 'child.vmdk');
  expect((await vmdkfs('create', child, '--backing', base)).code).toBe(0);
  writeDisk(child, pattern(GRAIN, 2), GRAIN);
  return child;
}

/** An image with one partition in a DOS table. */
async function partitionedImage(): Promise<string> {
  const image = await newImage('4M');
  const sector = Buffer.alloc(512);
  sector.writeUInt8(0x83, 446 + 4);
  sector.writeUInt32LE(2048, 446 + 8);
  sector.writeUInt32LE(2048, 446 + 12);
  sector.writeUInt16LE(0xaa55, 510);
  writeDisk(image, sector, 0);
  writeDisk(image, swap(65536), 2048 * 512);
  return image;
}

function archive(): string {
  const folder = tempFolder();
  const names = ['a.vmdk', 'b.vmdk'];
  const members = names.map((name) => {
    const descriptor = streamDescriptor(256, name);
    const grains = new Map([[0, pattern(GRAIN, 1)]]);
    writeStreamFile(join(folder, name), { family: 'footer', sectors: 256, grains, descriptor });
    return { name, bytes: readFileSync(join(folder, name)) };
  });
  const ova = join(folder, 'x.ova');
  writeOva(ova, [{ name: 'x.ovf', bytes: Buffer.from('<Envelope/>') }, ...members]);
  return ova;
}

/** An image whose second grain leads past the end in one of its tables. */
async function damagedImage(): Promise<string> {
  const image = await writtenImage();
  const directory = Number(peek(image, 56, 8).readBigUInt64LE()) * 512;
  const table = peek(image, directory, 4).readUInt32LE() * 512;
  poke(image, table + 4, littleEndian(0x7fff0000, 4));
  return image;
}

/** The output of a command, which may say by its exit code that there are problems. */
async function output(...args: readonly string[]): Promise<unknown> {
  const { code, stderr, stdout } = await vmdkfs(...args, '--json');
  if (code !== 0 && code !== 5) throw new Error(`${args.join(' ')}: exit code ${code}: ${stderr}`);
  return JSON.parse(stdout) as unknown;
}

interface Run {
  readonly needs: readonly Requirement[];
  /** Outputs of the command, of every shape that it has. */
  readonly outputs: () => Promise<readonly unknown[]>;
}

const RUNS: Readonly<Record<string, Run>> = {
  info: {
    needs: ['blkid'],
    outputs: async () => [
      await output('info', await writtenChild()),
      await output('info', archive()),
      await output('info', await partitionedImage()),
    ],
  },
  check: {
    needs: [],
    outputs: async () => {
      const image = await damagedImage();
      return [await output('check', image), await output('check', image, '--repair')];
    },
  },
  commit: {
    needs: [],
    outputs: async () => [await output('commit', await writtenChild())],
  },
  compact: {
    needs: [],
    outputs: async () => [await output('compact', await writtenImage())],
  },
  convert: {
    needs: [],
    outputs: async () => {
      const image = await writtenImage();
      return [await output('convert', image, join(image, '..', 'out.vmdk'))];
    },
  },
  diff: {
    needs: [],
    outputs: async () => [await output('diff', await writtenChild())],
  },
  map: {
    needs: [],
    outputs: async () => [await output('map', await writtenChild())],
  },
  list: {
    needs: ['fuse'],
    outputs: async () => {
      await mountImage(await newImage('4M'));
      return [await output('list')];
    },
  },
  stats: {
    needs: ['fuse'],
    outputs: async () => {
      const { disk, mountpoint } = await mountImage(await newImage('4M'));
      await shell('cat "$1" >/dev/null', disk);
      const line = 'exec 3>&1; "$@" | head -1';
      const program = new URL('../../dist/cli/main.js', import.meta.url).pathname;
      const args = ['stats', mountpoint, '--interval', '0.1', '--json'];
      const watched = await shell(line, process.execPath, program, ...args);
      return [await output('stats', mountpoint), JSON.parse(watched) as unknown];
    },
  },
};

const DOCUMENT = readFileSync(new URL('../../docs/json.md', import.meta.url), 'utf8');
const { outputs, parts } = parseShapes(DOCUMENT);

describe('docs/json.md', () => {
  test('has every command with --json, and this test runs it', () => {
    const commands = buildProgram()
      .commands.filter(({ options }) => options.some(({ long }) => long === '--json'))
      .map((command) => command.name());
    expect([...outputs.keys()].sort()).toEqual([...commands].sort());
    expect(Object.keys(RUNS).sort()).toEqual([...commands].sort());
  });

  const isRun = ([command, { needs }]: readonly [string, Run]): boolean =>
    !isMissing(`the JSON of ${command}`, ...needs);
  const runs = Object.entries(RUNS).filter(isRun);
  const seen = new Set<string>();

  test.each(runs)('tells what %s prints', async (command, run) => {
    const shapes = outputs.get(command) ?? [];
    const met = new Set<number>();
    for (const value of await run.outputs()) {
      const reasons = shapes.map((shape) => {
        const names = new Set<string>();
        const reason = mismatch(value, shape, parts, names);
        if (reason === undefined) names.forEach((name) => seen.add(name));
        return reason;
      });
      const fitting = reasons.indexOf(undefined);
      expect(fitting, reasons.join('\n')).toBeGreaterThanOrEqual(0);
      met.add(fitting);
    }
    expect(met.size, 'every shape of the document is met').toBe(shapes.length);
  });

  test.skipIf(runs.length < Object.keys(RUNS).length)('has no part that nothing has', () => {
    expect([...seen].sort()).toEqual([...parts.keys()].sort());
  });
});
