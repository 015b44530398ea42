/** `vmdkfs check` as it is called: exit codes, what it prints, and what QEMU says of what it mended. */
import { appendFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { writeDisk } from '../helpers/checked.js';
import { pattern } from '../helpers/made-disk.js';
import { newImage, writeDescriptor } from '../helpers/images.js';
import { mountImage } from '../helpers/mounted.js';
import { writeOva } from '../helpers/ova-file.js';
import { littleEndian, peek, poke } from '../helpers/poke.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, vmdkfs } from '../helpers/run.js';
import { writeSparseFile } from '../helpers/sparse-file.js';
import { streamDescriptor, writeStreamFile } from '../helpers/stream-file.js';
import { tempFolder } from '../helpers/temp-folder.js';

const GRAIN = 65536;

let image: string;
/** Where its first tables lie. */
let table: number;
let copy: number;

beforeEach(async () => {
  image = await newImage('64M');
  writeDisk(image, pattern(3 * GRAIN, 1), 0);
  const tableOf = (at: number): number => {
    const directory = Number(peek(image, at, 8).readBigUInt64LE()) * 512;
    return peek(image, directory, 4).readUInt32LE() * 512;
  };
  table = tableOf(56);
  copy = tableOf(48);
});

/** Grain 1 leads past the end; the copy of its entry is good. */
function damage(): void {
  poke(image, table + 4, littleEndian(0x7fff0000, 4));
}

/** The same in both tables. */
function ruin(): void {
  damage();
  poke(image, copy + 4, littleEndian(0x7fff0000, 4));
}

describe('exit codes and output', () => {
  test('a sound image is 0', async () => {
    expect(await vmdkfs('check', image)).toEqual({
      code: 0,
      stdout: `${image}: sound\n`,
      stderr: '',
    });
  });

  test('leaks and an unclean end are 0, said, and mended', async () => {
    poke(image, 72, Buffer.of(1));
    appendFileSync(image, pattern(2 * GRAIN, 2));
    const found = await vmdkfs('check', image);
    expect(found).toMatchObject({ code: 0, stderr: '' });
    expect(found.stdout.split('\n')).toEqual([
      `${image}: 131072 bytes of the file belong to no grain`,
      `${image}: at byte 72: was not closed cleanly`,
      `${image}: sound; 2 of what was found can be mended with --repair`,
      '',
    ]);
    const mended = await vmdkfs('check', image, '--repair');
    expect(mended).toMatchObject({ code: 0, stderr: '' });
    expect(mended.stdout.split('\n')).toEqual([
      `mended: ${image}: 131072 bytes of the file belong to no grain`,
      `mended: ${image}: at byte 72: was not closed cleanly`,
      `${image}: sound`,
      '',
    ]);
    expect(peek(image, 72, 1)).toEqual(Buffer.of(0));
  });

  test('problems are 5, and 0 when they are mended', async () => {
    damage();
    const line = `${image}: grain 1 (disk offset 65536) at byte ${table + 4}: the entry leads to byte ${0x7fff0000 * 512}, past the end of the file`;
    expect(await vmdkfs('check', image)).toEqual({
      code: 5,
      stdout: `${line}\n${image}: 1 problem; 1 of what was found can be mended with --repair\n`,
      stderr: '',
    });
    expect(await vmdkfs('check', image, '--repair')).toEqual({
      code: 0,
      stdout: `mended: ${line}\n${image}: sound\n`,
      stderr: '',
    });
    expect((await vmdkfs('check', image)).code).toBe(0);
  });

  test('what cannot be mended stays 5', async () => {
    ruin();
    const before = readFileSync(image);
    const { code, stdout } = await vmdkfs('check', image, '--repair');
    expect(code).toBe(5);
    expect(stdout).toContain(`${image}: 1 problem\n`);
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test('--dry-run says what would be done, and does nothing', async () => {
    damage();
    const before = readFileSync(image);
    const { code, stdout } = await vmdkfs('check', image, '--dry-run');
    expect(code).toBe(5);
    const entry = peek(image, copy + 4, 4).readUInt32LE();
    expect(stdout).toContain(`  would take the entry of the redundant table (${entry})\n`);
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test('--repair with --dry-run is 1', async () => {
    const { code, stderr, stdout } = await vmdkfs('check', image, '--repair', '--dry-run');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('--repair and --dry-run exclude each other');
  });

  test('--json has every problem', async () => {
    damage();
    const { code, stdout } = await vmdkfs('check', image, '--json');
    expect(code).toBe(5);
    const problem = {
      kind: 'beyond-end',
      severity: 'error',
      file: image,
      offset: table + 4,
      grain: 1,
      diskOffset: 65536,
      message: expect.stringContaining('past the end of the file') as string,
      repair: [expect.stringContaining('take the entry of the redundant table') as string],
    };
    expect(JSON.parse(stdout)).toEqual({
      image,
      sound: false,
      problems: [problem],
      more: 0,
      mended: [],
    });
    const mended = await vmdkfs('check', image, '--json', '--repair');
    expect(mended.code).toBe(0);
    expect(JSON.parse(mended.stdout)).toEqual({
      image,
      sound: true,
      problems: [],
      more: 0,
      mended: [problem],
    });
  });

  test('many problems of one kind are not all printed', async () => {
    poke(image, table, Buffer.alloc(2048, 0x7f));
    poke(image, copy, Buffer.alloc(2048, 0x7f));
    const { code, stdout } = await vmdkfs('check', image);
    expect(code).toBe(5);
    const lines = stdout.split('\n');
    expect(lines.filter((line) => line.includes('past the end'))).toHaveLength(20);
    expect(lines).toContain('and 492 more');
    expect(stdout).toContain(`${image}: 512 problems\n`);
  });

  test('no image is 2, none at all 4', async () => {
    const folder = tempFolder();
    writeFileSync(join(folder, 'text'), 'some text');
    const notVmdk = await vmdkfs('check', join(folder, 'text'));
    expect(notVmdk).toMatchObject({ code: 2, stdout: '' });
    expect(notVmdk.stderr).toMatch(/^vmdkfs: .* is not a VMDK .*\n$/);
    expect((await vmdkfs('check', join(folder, 'none'), '--json')).code).toBe(4);
    expect((await vmdkfs('check')).code).toBe(1);
    truncateSync(image, 100);
    expect((await vmdkfs('check', image)).code).toBe(2);
  });
});

describe('images of several files', () => {
  test('a bad parent is 5, and is not written', async () => {
    const child = join(image, '..', 'child.vmdk');
    expect((await vmdkfs('create', child, '--backing', image)).code).toBe(0);
    damage();
    const before = readFileSync(image);
    for (const args of [[], ['--repair']]) {
      const { code, stdout } = await vmdkfs('check', child, ...args);
      expect(code).toBe(5);
      expect(stdout).toContain(`${image}: grain 1`);
      expect(stdout).toContain(`${child}: 1 problem\n`);
    }
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test('an OVA is checked, and cannot be mended', async () => {
    const folder = tempFolder();
    const stream = join(folder, 'x.vmdk');
    const descriptor = streamDescriptor(256, 'x.vmdk');
    const grains = new Map([[0, pattern(GRAIN, 1)]]);
    const places = writeStreamFile(stream, { family: 'footer', sectors: 256, grains, descriptor });
    const ova = join(folder, 'x.ova');
    const ovf = { name: 'x.ovf', bytes: Buffer.from('<Envelope/>') };
    writeOva(ova, [ovf, { name: 'x.vmdk', bytes: readFileSync(stream) }]);
    expect((await vmdkfs('check', ova)).code).toBe(0);
    poke(stream, (places.grainOffsets.get(0) ?? 0) + 30, Buffer.alloc(20, 0xff));
    writeOva(ova, [ovf, { name: 'x.vmdk', bytes: readFileSync(stream) }]);
    const { code, stdout } = await vmdkfs('check', ova);
    expect(code).toBe(5);
    expect(stdout).toContain('cannot be inflated');
    const refused = await vmdkfs('check', ova, '--repair');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('cannot be mended');
  });
});

describe.skipIf(isMissing('check and mounts', 'fuse'))('beside a mount', () => {
  test('an image in use is 6, unless locks are passed over', async () => {
    const { unmount } = await mountImage(image);
    for (const args of [[], ['--repair']]) {
      const { code, stderr } = await vmdkfs('check', image, ...args);
      expect(code).toBe(6);
      expect(stderr).toContain('is in use');
    }
    expect((await vmdkfs('check', image, '--no-lock')).code).toBe(0);
    await unmount();
    expect((await vmdkfs('check', image)).code).toBe(0);
    const reader = await mountImage(image, '-r');
    expect((await vmdkfs('check', image)).code).toBe(0);
    await reader.unmount();
  });

  test('what is read by a mount is locked for writing only where something is mended', async () => {
    const { unmount } = await mountImage(image, '-r');
    expect(await vmdkfs('check', image, '--repair')).toMatchObject({ code: 0, stderr: '' });
    damage();
    const before = readFileSync(image);
    const refused = await vmdkfs('check', image, '--repair');
    expect(refused).toMatchObject({ code: 6, stdout: '' });
    expect(refused.stderr).toContain('cannot be opened for writing beside it');
    expect(readFileSync(image).equals(before)).toBe(true);
    await unmount();
    expect((await vmdkfs('check', image, '--repair')).code).toBe(0);
    expect((await vmdkfs('check', image)).stdout).toBe(`${image}: sound\n`);
  });

  test("VMware's mark forbids mending, not checking", async () => {
    mkdirSync(`${image}.lck`);
    writeFileSync(join(`${image}.lck`, 'M12345.lck'), '');
    const checked = await vmdkfs('check', image, '--repair');
    expect(checked.code).toBe(0);
    expect(checked.stderr).toContain('VMware has marked it as in use');
    damage();
    const before = readFileSync(image);
    expect(await vmdkfs('check', image)).toMatchObject({ code: 5 });
    expect(await vmdkfs('check', image, '--repair')).toMatchObject({ code: 6, stdout: '' });
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test('holes that discards left are no leaks, with locks and without', async () => {
    const { disk, unmount } = await mountImage(image);
    await check('fallocate', '-p', '-o', '65536', '-l', '65536', disk);
    await unmount();
    for (const args of [[], ['--no-lock']]) {
      expect((await vmdkfs('check', image, ...args)).stdout).toBe(`${image}: sound\n`);
    }
  });
});

describe.skipIf(isMissing('check and QEMU', 'qemu'))('QEMU', () => {
  test('finds nothing in what was mended, and the same data', async () => {
    const raw = join(tempFolder(), 'raw');
    await check('qemu-img', 'convert', '-O', 'raw', image, raw);
    const directory = Number(peek(image, 56, 8).readBigUInt64LE()) * 512;
    damage();
    poke(image, copy + 8, littleEndian(0, 4));
    appendFileSync(image, pattern(GRAIN, 2));
    expect((await run('qemu-img', ['check', image])).code).not.toBe(0);
    expect((await vmdkfs('check', image, '--repair')).code).toBe(0);
    poke(image, directory, littleEndian(0x7fffffff, 4));
    expect((await vmdkfs('check', image, '--repair')).code).toBe(0);
    await check('qemu-img', 'check', image);
    await check('qemu-img', 'compare', image, raw);
  });
});

describe('progress', () => {
  /** A disk of half a million tables in a file that is nearly all hole: reading them takes seconds. */
  function slowImage(): string {
    const folder = tempFolder();
    const tables = 2 ** 19;
    const shape = { sectors: tables * 128, grainSectors: 1, tableEntries: 128, flags: 1 };
    const file = join(folder, 's.vmdk');
    writeSparseFile(file, { ...shape, withTables: false });
    const first = 1 + (tables * 4) / 512;
    const directory = Uint32Array.from({ length: tables }, (_, table) => first + table);
    poke(file, 512, new Uint8Array(directory.buffer));
    truncateSync(file, (first + tables) * 512);
    writeDescriptor(join(folder, 'disk.vmdk'), [`RW ${shape.sectors} SPARSE "s.vmdk"`]);
    return join(folder, 'disk.vmdk');
  }

  test('is not told where stderr is no terminal', async () => {
    expect(await vmdkfs('check', slowImage())).toMatchObject({ code: 0, stderr: '' });
  });

  test.skipIf(isMissing('progress on a terminal', 'script'))(
    'is told on a terminal past a second, and taken away',
    async () => {
      const slow = slowImage();
      const command = `timeout 50 '${process.execPath}' '${CLI}' check '${slow}'`;
      const stdout = await check('script', '-qefc', command, '/dev/null');
      expect(stdout).toMatch(/\r\x1b\[Kchecking .*s\.vmdk: \d+ %.*\r\x1b\[K[^\r]*: sound\r\n$/s);
    },
  );
});
