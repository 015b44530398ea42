/** `vmdkfs convert`: what it says, its exit codes, who reads what it makes, and what ends it. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createImage } from '../../src/block/create-image.js';
import { openImage } from '../../src/block/open-image.js';
import { contentOf, writeDisk } from '../helpers/checked.js';
import { pattern } from '../helpers/made-disk.js';
import { writeOva } from '../helpers/ova-file.js';
import { isMissing, SAMPLES, SYSTEM_PYTHON } from '../helpers/requirements.js';
import { check, CLI, run, shell, vmdkfs } from '../helpers/run.js';
import { makeStream } from '../helpers/stream-image.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { until } from '../helpers/until.js';

const KIB = 1024;
const MIB = 1024 * KIB;

let folder: string;
let plain: string;
let out: string;
let content: Buffer;

beforeEach(() => {
  folder = tempFolder();
  plain = join(folder, 'plain.raw');
  out = join(folder, 'out.vmdk');
  content = Buffer.alloc(5 * MIB + 512);
  pattern(200 * KIB, 3).copy(content, MIB);
  content.write('the end', content.length - 512);
  writeFileSync(plain, content);
});

/** Fails with `code` and one line, and leaves the folder as it was. */
async function expectRefusal(args: readonly string[], code: number, line: RegExp): Promise<void> {
  const before = readdirSync(folder);
  const outcome = await vmdkfs('convert', ...args);
  expect(outcome).toEqual({ code, stdout: '', stderr: expect.stringMatching(line) as string });
  expect(outcome.stderr).toMatch(/^vmdkfs: [^\n]+\n$/);
  expect(readdirSync(folder)).toEqual(before);
}

/** What is said of `plain`. */
function takenAsPlain(): string {
  return `vmdkfs: ${plain}: is taken as a plain disk; nothing in it says that it is a VMDK\n`;
}

describe('convert', () => {
  test('says what it made, in words and in JSON', async () => {
    const outcome = await vmdkfs('convert', plain, out);
    expect(outcome).toEqual({
      code: 0,
      stdout: expect.stringMatching(
        /^\S+out\.vmdk: monolithicSparse, 5 MiB \(5243392 bytes\), \d[^\n]* on the host\n$/,
      ) as string,
      stderr: takenAsPlain(),
    });
    expect(contentOf(out).equals(content)).toBe(true);
    const split = join(folder, 'split.vmdk');
    const args = [out, split, '-t', '2GBMAXEXTENTSPARSE', '--adapter', 'ide', '--json', '-q'];
    const { code, stderr, stdout } = await vmdkfs('convert', ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      input: out,
      image: split,
      subformat: 'twoGbMaxExtentSparse',
      parent: null,
      size: content.length,
      allocated: expect.any(Number) as number,
      files: [join(folder, 'split-s001.vmdk'), split],
    });
    expect(readFileSync(split, 'utf8')).toContain('ddb.adapterType = "ide"');
    expect(contentOf(split).equals(content)).toBe(true);
    // The adapter is that of the source unless told otherwise.
    const flat = join(folder, 'flat.vmdk');
    await check(process.execPath, CLI, 'convert', split, flat, '-t', 'monolithicflat');
    expect(readFileSync(flat, 'utf8')).toContain('ddb.adapterType = "ide"');
  });

  test('makes a child, and says when it will need --allow-outside', async () => {
    const base = join(folder, 'base.vmdk');
    await check(process.execPath, CLI, 'convert', plain, base);
    content.fill(9, 2 * MIB, 2 * MIB + 4096);
    writeFileSync(plain, content);
    mkdirSync(join(folder, 'vm'));
    const child = join(folder, 'vm', 'child.vmdk');
    const outcome = await vmdkfs('convert', plain, child, '--parent', base, '--json');
    expect(outcome.code).toBe(0);
    expect(outcome.stderr).toBe(
      `${takenAsPlain()}vmdkfs: ${base} lies outside the folder of ${child}: mounting ${child} will need --allow-outside\n`,
    );
    expect(JSON.parse(outcome.stdout)).toMatchObject({ parent: base, size: content.length });
    expect(readFileSync(child, 'latin1')).toContain('parentFileNameHint="../base.vmdk"');
    expect(statSync(child).blocks * 512).toBeLessThan(200 * KIB);
    const quiet = await vmdkfs('convert', child, out, '--allow-outside', '--quiet');
    expect(quiet).toMatchObject({ code: 0, stderr: '' });
    expect(contentOf(out).equals(content)).toBe(true);
  });

  test('takes a disk of an OVA, and a file as plain that looks like an image', async () => {
    const disks = ['a', 'b'].map((name) => {
      const file = join(folder, `${name}.vmdk`);
      makeStream(file, { family: 'footer', sectors: 300, grains: new Map([[1, pattern(5, 3)]]) });
      return { name: `${name}.vmdk`, bytes: readFileSync(file) };
    });
    const ova = join(folder, 'two.ova');
    writeOva(ova, disks);
    await expectRefusal([ova, out], 1, /disks/);
    expect((await vmdkfs('convert', ova, out, '--disk', '2')).code).toBe(0);
    expect(contentOf(out).equals(contentOf(join(folder, 'b.vmdk')))).toBe(true);
    const whole = join(folder, 'whole.raw');
    const args = [join(folder, 'a.vmdk'), whole, '--raw-input', '-t', 'raw'];
    expect((await vmdkfs('convert', ...args)).code).toBe(0);
    expect(readFileSync(whole).equals(readFileSync(join(folder, 'a.vmdk')))).toBe(true);
  });

  test('fails with 1 for what cannot be asked', async () => {
    await expectRefusal([plain, out, '-t', 'qcow2'], 1, /not a subformat .*streamOptimized, raw/);
    await expectRefusal([plain, out, '-a', 'nvme'], 1, /"nvme" is not an adapter/);
    await expectRefusal(
      [plain, out, '-t', 'vmfs', '-b', plain],
      1,
      /--parent needs a sparse subformat/,
    );
    await expectRefusal([plain, out, '-t', 'raw', '-b', plain], 1, /raw cannot have a parent/);
    await expectRefusal([plain, out, '--raw-input', '--disk', '1'], 1, /exclude each other/);
    await expectRefusal([plain, out, '--disk', '1'], 1, /is no archive with disks/);
    const missing = await vmdkfs('convert', plain);
    expect(missing).toMatchObject({ code: 1, stdout: '' });
    expect(missing.stderr).toMatch(/missing required argument 'out'/);
  });

  test('fails with 2 for what is no disk that can be read', async () => {
    const bad = join(folder, 'bad.vmdk');
    writeFileSync(bad, Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(999)]));
    await expectRefusal([bad, out], 2, /is a QCOW2 image .*; .*--raw-input/);
    writeFileSync(bad, '');
    await expectRefusal([bad, out], 2, /is empty/);
    writeFileSync(bad, Buffer.concat([Buffer.from('KDMV'), Buffer.alloc(999)]));
    await expectRefusal([bad, out], 2, /bad\.vmdk: header version 0/);
    await expectRefusal([plain, out, '-b', plain], 2, /plain\.raw: is not a VMDK/);
  });

  test('fails with 4 for what the host has not, or has already', async () => {
    await expectRefusal([join(folder, 'none'), out], 4, /none: no such file or directory/);
    await expectRefusal([plain, join(folder, 'no', 'o.vmdk')], 4, /no such file or directory/);
    writeFileSync(join(folder, 'out-flat.vmdk'), 'mine');
    await expectRefusal([plain, out, '-t', 'vmfs'], 4, /out-flat\.vmdk: is there already; --force/);
    mkdirSync(out);
    await expectRefusal([plain, out], 4, /out\.vmdk: is there already; --force/);
    await expectRefusal([plain, out, '--force'], 4, /is no regular file, and is not replaced/);
    expect(readFileSync(join(folder, 'out-flat.vmdk'), 'utf8')).toBe('mine');
  });

  test('refuses to replace what it reads', async () => {
    const image = join(folder, 'disk.vmdk');
    const base = join(folder, 'base.vmdk');
    createImage(base, { size: MIB, backing: undefined, subformat: 'monolithicFlat' });
    createImage(image, { size: MIB, backing: base });
    for (const file of [image, base, join(folder, 'base-flat.vmdk')]) {
      const before = readFileSync(file);
      await expectRefusal([image, file, '--force'], 1, /is read for the new image/);
      expect(readFileSync(file).equals(before)).toBe(true);
    }
    await expectRefusal([plain, base, '--force', '-b', base], 1, /is read for the new image/);
  });

  test('fails with 6 for an image in use, as source or in its place', async () => {
    const image = join(folder, 'disk.vmdk');
    createImage(image, { size: MIB, backing: undefined });
    const { device } = openImage(image, { readOnly: false, lock: true });
    try {
      await expectRefusal([image, out], 6, /in use by another program/);
      await expectRefusal([plain, image, '--force'], 6, /in use by another program/);
      expect((await vmdkfs('convert', image, out, '--no-lock')).code).toBe(0);
    } finally {
      device.close();
    }
  });

  test('replaces an image and the extents that are its own, and nothing else', async () => {
    const others = ['other-s001.vmdk', 'out-s9.vmdk'];
    for (const name of others) writeFileSync(join(folder, name), 'mine');
    createImage(out, { size: 3 * 2 ** 30, backing: undefined, subformat: 'twoGbMaxExtentSparse' });
    writeDisk(out, Buffer.from('old'), 0);
    expect(readdirSync(folder)).toContain('out-s002.vmdk');
    expect((await vmdkfs('convert', plain, out, '--force')).code).toBe(0);
    expect(readdirSync(folder).sort()).toEqual([...others, 'out.vmdk', 'plain.raw'].sort());
    expect(contentOf(out).equals(content)).toBe(true);
    // And what is no image at all.
    const args = ['convert', out, join(folder, others[0]!), '--force', '-t', 'raw'];
    expect((await vmdkfs(...args)).code).toBe(0);
    expect(readFileSync(join(folder, others[0]!)).equals(content)).toBe(true);
  });
});

describe('a conversion that does not come to its end', () => {
  /** Starts one that takes a while, and waits until it has written something. */
  async function start(...args: string[]): Promise<{
    readonly child: ReturnType<typeof spawn>;
    readonly ended: Promise<NodeJS.Signals | null>;
  }> {
    const random = randomBytes(32 * MIB);
    writeFileSync(plain, Buffer.concat(Array.from({ length: 8 }, () => random)));
    const child = spawn(process.execPath, [
      ...[CLI, 'convert', plain, out, '-t', 'streamOptimized'],
      ...args,
    ]);
    const ended = new Promise<NodeJS.Signals | null>((resolve) => {
      child.once('exit', (_, signal) => {
        resolve(signal);
      });
    });
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    await until('the conversion has written something', 50_000, () => {
      const part = partIn(folder);
      const file = join(folder, part ?? '', 'out.vmdk');
      return part !== undefined && existsSync(file) && statSync(file).size > MIB;
    });
    return { child, ended };
  }

  function partIn(where: string): string | undefined {
    return readdirSync(where).find((name) => /^\.vmdkfs-[0-9a-f]{8}\.part$/.test(name));
  }

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'leaves nothing behind at %s',
    async (signal) => {
      const { child, ended } = await start();
      child.kill(signal);
      expect(await ended).toBe(signal);
      expect(readdirSync(folder)).toEqual(['plain.raw']);
    },
    180_000,
  );

  test('leaves what it was to replace as it was, whether interrupted or killed', async () => {
    createImage(out, { size: MIB, backing: undefined });
    const before = readFileSync(out);
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const { child, ended } = await start('--force');
      child.kill(signal);
      expect(await ended).toBe(signal);
      expect(readFileSync(out).equals(before)).toBe(true);
      expect(partIn(folder) !== undefined).toBe(signal === 'SIGKILL');
    }
    // What a kill left is in nobody's way.
    expect((await vmdkfs('convert', out, join(folder, 'next.vmdk'))).code).toBe(0);
  }, 180_000);

  test
    .skipIf(isMissing('a conversion past a limit', 'prlimit'))
    .each(['monolithicSparse', 'streamOptimized', 'raw'])(
    'leaves nothing behind when the host takes no more of %s',
    async (kind) => {
      writeFileSync(plain, randomBytes(4 * MIB));
      const args = ['--fsize=1048576', process.execPath, CLI, 'convert', plain, out, '-t', kind];
      const outcome = await run('prlimit', args);
      expect(outcome).toMatchObject({ code: 4, stdout: '' });
      expect(outcome.stderr).toMatch(/^vmdkfs: [^\n]*(file too large|EFBIG)[^\n]*\n$/i);
      expect(readdirSync(folder)).toEqual(['plain.raw']);
    },
  );
});

describe('streamOptimized is read', () => {
  beforeEach(async () => {
    // More than a table of grains, a table without any between, and a last grain that is cut off.
    truncateSync(plain, 100 * MIB + 512);
    content = Buffer.alloc(100 * MIB + 512);
    pattern(3 * MIB, 5).copy(content, 10 * MIB + 512);
    randomBytes(MIB).copy(content, 80 * MIB);
    content.write('the end', content.length - 512);
    writeFileSync(plain, content);
    await check(process.execPath, CLI, 'convert', plain, out, '-t', 'streamOptimized');
  });

  test('by ourselves, with all of its parts in their places', async () => {
    expect(contentOf(out).equals(content)).toBe(true);
    expect((await vmdkfs('check', out)).stdout).toBe(`${out}: sound\n`);
    const bytes = readFileSync(out);
    expect(bytes.readUInt32LE(4)).toBe(3);
    expect(bytes.readUInt32LE(8)).toBe(0x30001);
    expect(bytes.readBigUInt64LE(56)).toBe(0xffff_ffff_ffff_ffffn);
    expect(bytes.readUInt16LE(77)).toBe(1);
    expect(bytes.toString('latin1', 512, 2048)).toMatch(/^RDONLY 204801 SPARSE "out\.vmdk"$/m);
    expect(bytes.toString('latin1', 512, 2048)).toContain('createType="streamOptimized"');
    // Footer marker, footer, end of stream.
    expect(bytes.length % 512).toBe(0);
    expect(bytes.subarray(-512).every((byte) => byte === 0)).toBe(true);
    expect(bytes.readUInt32LE(bytes.length - 3 * 512 + 12)).toBe(3);
    const gdOffset = Number(bytes.readBigUInt64LE(bytes.length - 2 * 512 + 56)) * 512;
    const tables = [0, 1, 2, 3].map((table) => bytes.readUInt32LE(gdOffset + 4 * table));
    expect(tables.map((sector) => sector === 0)).toEqual([false, true, false, false]);
    expect(bytes.readUInt32LE(gdOffset - 512 + 12)).toBe(2);
    const table = tables[0]! * 512;
    expect(bytes.readUInt32LE(table - 512 + 12)).toBe(1);
    const grain = bytes.readUInt32LE(table + 4 * 160) * 512;
    expect(Number(bytes.readBigUInt64LE(grain))).toBe((160 * 64 * KIB) / 512);
  });

  test.skipIf(isMissing('a stream read by QEMU', 'qemu'))('by QEMU', async () => {
    const said = await check('qemu-img', 'compare', '-f', 'raw', '-F', 'vmdk', plain, out);
    expect(said).toContain('identical');
    await check('qemu-img', 'convert', '-O', 'raw', out, join(folder, 'qemu.raw'));
    expect(readFileSync(join(folder, 'qemu.raw')).equals(content)).toBe(true);
  });

  test.skipIf(isMissing('a stream read by 7-Zip', 'sevenZip'))('by 7-Zip', async () => {
    await shell('7zz e -so "$1" > "$2"', out, join(folder, '7z.raw'));
    expect(readFileSync(join(folder, '7z.raw')).equals(content)).toBe(true);
  });

  test.skipIf(isMissing('a stream read by libvmdk', 'libvmdk'))('by libvmdk', async () => {
    const program = [
      'import pyvmdk, sys',
      'h = pyvmdk.handle()',
      'h.open(sys.argv[1])',
      'h.open_extent_data_files()',
      'left = h.get_media_size()',
      'while left > 0:',
      '  part = h.read_buffer(min(left, 1 << 20))',
      '  sys.stdout.buffer.write(part)',
      '  left -= len(part)',
    ].join('\n');
    const raw = join(folder, 'libvmdk.raw');
    await shell('"$1" -c "$2" "$3" > "$4"', SYSTEM_PYTHON, program, out, raw);
    expect(readFileSync(raw).equals(content)).toBe(true);
  });
});

test('an unreadable extent is said, and nothing is left', async () => {
  createImage(join(folder, 'disk.vmdk'), { size: MIB, backing: undefined, subformat: 'vmfs' });
  copyFileSync(join(folder, 'disk.vmdk'), join(folder, 'lone.vmdk'));
  const text = readFileSync(join(folder, 'lone.vmdk'), 'utf8');
  writeFileSync(join(folder, 'lone.vmdk'), text.replace('disk-flat', 'gone-flat'));
  await expectRefusal([join(folder, 'lone.vmdk'), out], 2, /gone-flat\.vmdk/);
});

test.skipIf(isMissing('a sample in an archive', 'samples'))(
  'a disk that an OVA was made of stays what it was through every compressed and sparse kind',
  async () => {
    const name = 'vatesfr+xo-vmdk-to-vhd/test.vmdk';
    const manifest = JSON.parse(readFileSync(join(SAMPLES, 'manifest.json'), 'utf8')) as {
      images: { file: string; raw: string }[];
    };
    const bytes = readFileSync(join(SAMPLES, name));
    const ova = join(folder, 'sample.ova');
    writeOva(ova, [{ name: 'disk1.vmdk', bytes }]);
    let from = ova;
    for (const kind of ['streamOptimized', 'seSparse', 'raw']) {
      const to = join(folder, `${kind}.vmdk`);
      expect(await vmdkfs('convert', from, to, '-t', kind)).toMatchObject({ code: 0, stderr: '' });
      from = to;
    }
    const hash = createHash('sha256').update(readFileSync(from)).digest('hex');
    expect(hash).toBe(manifest.images.find(({ file }) => file === name)?.raw);
  },
);
