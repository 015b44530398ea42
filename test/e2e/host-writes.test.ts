/** What the server asks of the host for each write: counted with strace, not believed. */
import { open } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { blockOf, placesOf } from '../helpers/random-writes.js';
import { newImage } from '../helpers/images.js';
import { mountImage, type Mounted } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

const MIB = 1024 * 1024;
const GRAIN = 64 * 1024;

/** A system call on the image: its name, and for a write its length and place. */
interface Call {
  readonly name: string;
  readonly length: number;
  readonly offset: number;
}

/** Runs `action` while strace watches the server; the calls on descriptors of `image`. */
async function trace(
  mounted: Mounted,
  image: string,
  action: () => Promise<void>,
): Promise<Call[]> {
  const output = join(tempFolder(), 'trace');
  const calls = 'pwrite64,pwritev,write,ftruncate,truncate,fstat,newfstatat,lseek,fdatasync,fsync';
  const args = [
    '-f',
    '-yy',
    '-s',
    '0',
    '-e',
    `trace=${calls}`,
    '-o',
    output,
    '-p',
    String(mounted.pid),
  ];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  onTestFinished(() => {
    strace.kill('SIGINT');
  });
  await new Promise<void>((resolve) =>
    strace.stderr.on('data', () => {
      resolve();
    }),
  );
  await sleep(300);
  await action();
  await sleep(200);
  const ended = new Promise((resolve) => strace.once('exit', resolve));
  strace.kill('SIGINT');
  await ended;
  return parseTrace(output, image);
}

function parseTrace(output: string, image: string): Call[] {
  return readFileSync(output, 'utf8')
    .split('\n')
    .filter((line) => line.includes(`<${image}`))
    .map((line) => {
      const name = /^\d+ +(\w+)\(/.exec(line)?.[1] ?? '';
      const numbers = /, (\d+), (\d+)(?:\)| <unfinished)/.exec(line);
      return { name, length: Number(numbers?.[1] ?? 0), offset: Number(numbers?.[2] ?? 0) };
    });
}

/** Where the first grain of a new image can be, in bytes. */
function firstGrainOf(image: string): number {
  return Number(readFileSync(image).readBigUInt64LE(64)) * 512;
}

describe.skipIf(isMissing('host writes', 'fuse', 'strace'))('the server asks the host', () => {
  test(
    'for one data write for each of 10,000 random writes, no ftruncate, no stat',
    { timeout: 240_000 },
    async () => {
      const image = await newImage('1G');
      const firstGrain = firstGrainOf(image);
      const mounted = await mountImage(image);
      const places = placesOf(7, 10_000, 4096, 1024 * MIB);
      const calls = await trace(mounted, image, async () => {
        const handle = await open(mounted.disk, 'r+');
        for (const [index, place] of places.entries()) {
          await handle.write(blockOf(index, 4096), 0, 4096, place);
        }
        await handle.sync();
        await handle.close();
      });
      const grains = new Set(places.map((place) => Math.floor(place / GRAIN))).size;
      const writes = calls.filter(({ name }) => name.startsWith('pwrite'));
      const data = writes.filter(({ offset }) => offset >= firstGrain);
      const flushes = calls.filter(({ name }) => name === 'fdatasync').length;
      console.log(
        `10,000 random 4 KiB writes, ${grains} new grains: ${data.length} data writes, ${writes.length - data.length} others, ${flushes} fdatasyncs`,
      );
      expect(calls.filter(({ name }) => /truncate|stat|lseek/.test(name))).toEqual([]);
      expect(data.length).toBe(10_000);
      expect(data.every(({ length }) => length === 4096)).toBe(true);
      // Tables, CID and unclean flag: a few writes for each flush, two for each run of tables in it.
      expect(writes.length - data.length).toBeLessThan(flushes * 2 * 33 + 3);
      expect(flushes).toBeLessThan(400);
      await mounted.unmount();
      expect(await check('qemu-img', 'check', image)).toMatch(/No errors/);
    },
  );

  // The kernel cuts requests at 128 KiB for libfuse 2.
  const pieces = Array<number>(8).fill(128 * 1024);

  test.each(['kernel', 'libfuse'])(
    'over %s for one data write for a request',
    async (transport) => {
      const image = await newImage('64M');
      const firstGrain = firstGrainOf(image);
      const mounted = await mountImage(image, '--transport', transport);
      const calls = await trace(mounted, image, async () => {
        await check(
          'dd',
          'if=/dev/urandom',
          `of=${mounted.disk}`,
          'bs=1M',
          'count=1',
          'seek=3',
          'conv=notrunc',
          'oflag=direct',
          'status=none',
        );
      });
      const data = calls.filter(
        ({ name, offset }) => name.startsWith('pwrite') && offset >= firstGrain,
      );
      expect(data.map(({ length }) => length)).toEqual(transport === 'kernel' ? [MIB] : pieces);
      await mounted.unmount();
    },
  );
});

describe.skipIf(isMissing('engine writes', 'strace'))('the engine asks the host', () => {
  /** Data writes that one write of `length` bytes at `offset` becomes, by length. */
  async function dataWrites(image: string, length: number, offset: number): Promise<number[]> {
    const engine = new URL('../../dist/block/open-image.js', import.meta.url).href;
    const program = `
      const { openImage } = await import('${engine}');
      const { device } = openImage(process.argv[1], { readOnly: false });
      device.write(Buffer.alloc(${length}, 7), 0, ${length}, ${offset});
      device.close();`;
    const output = join(tempFolder(), 'trace');
    const firstGrain = firstGrainOf(image);
    const node = [process.execPath, '--input-type=module', '-e', program, image];
    await check('strace', '-f', '-yy', '-s', '0', '-e', 'trace=pwrite64', '-o', output, ...node);
    const calls = parseTrace(output, image);
    return calls.filter((call) => call.offset >= firstGrain).map((call) => call.length);
  }

  test('for one write for 1 MiB into 16 new grains', async () => {
    const image = await newImage('64M');
    expect(await dataWrites(image, MIB, 3 * MIB)).toEqual([MIB]);
  });

  test('for user data, head and tail around it over a parent', async () => {
    const base = await newImage('64M');
    await dataWrites(base, MIB, 0);
    const child = join(base, '..', 'child.vmdk');
    await vmdkfs('create', child, '--backing', base);
    const [head, length] = [1000, 4096];
    expect(await dataWrites(child, length, head)).toEqual([length, head, GRAIN - head - length]);
  });

  test('for user data and the end of the grain where nothing lies beneath', async () => {
    const image = await newImage('64M');
    expect(await dataWrites(image, 4096, 1000)).toEqual([4096, 1]);
  });
});
