/** Paths whose bytes are no UTF-8: on the command line, in descriptors, around a mount. */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

/** `caf` and a byte that ends no character, as printf(1) writes it. */
const NAME = 'caf\\351';
const BYTES = Buffer.from('caf\xe9', 'latin1');

let folder: string;

function inFolder(...names: readonly string[]): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(names.join('/'), 'latin1')]);
}

/** A shell line in the folder; `$n` has the name, `vmdkfs` is ours. Node gives programs text only. */
function shell(line: string): Promise<Outcome> {
  const start = `cd "$1" || exit; n=$(printf '${NAME}'); vmdkfs() { "${process.execPath}" "${CLI}" "$@"; }`;
  return run('sh', ['-euc', `${start}; ${line}`, 'sh', folder]);
}

async function succeed(line: string): Promise<Outcome> {
  const outcome = await shell(line);
  expect(outcome).toMatchObject({ code: 0 });
  return outcome;
}

beforeEach(() => {
  folder = tempFolder();
});

describe('a path that is no text', () => {
  test('is that of an image that is made, shown, checked, written to and read', async () => {
    await succeed('vmdkfs create "$n.vmdk" -s 1M; head -c 65536 /dev/urandom > "$n.raw"');
    expect(readdirSync(folder, 'buffer').sort((a, b) => a.compare(b))).toEqual([
      Buffer.concat([BYTES, Buffer.from('.raw')]),
      Buffer.concat([BYTES, Buffer.from('.vmdk')]),
    ]);
    const { stdout } = await succeed('vmdkfs info "$n.vmdk"; vmdkfs info --json "$n.vmdk"');
    expect(stdout).toContain('image:      caf\\xE9.vmdk\n');
    expect(stdout).toContain('"image": "caf\\udce9.vmdk"');
    await succeed('vmdkfs check "$n.vmdk"; vmdkfs map "$n.vmdk"');
    await succeed(
      'vmdkfs convert "$n.raw" "from-$n.vmdk"; vmdkfs convert -t monolithicFlat "from-$n.vmdk" "$n-to.vmdk"',
    );
    const all = readFileSync(inFolder('caf\xe9-to-flat.vmdk'));
    expect(all.subarray(0, 65536)).toEqual(readFileSync(inFolder('caf\xe9.raw')));
  });

  test('is that of a parent, of overlays and of a folder', async () => {
    mkdirSync(inFolder('caf\xe9'));
    await succeed(
      'vmdkfs create "$n/base.vmdk" -s 1M -t twoGbMaxExtentSparse; vmdkfs create --backing "$n/base.vmdk" "$n/$n.vmdk"',
    );
    const { stdout } = await succeed('cd "$n"; vmdkfs info "$n.vmdk"; vmdkfs commit "$n.vmdk"');
    expect(stdout).toContain('/caf\\xE9/base.vmdk\n');
    // Without the name that it was found by, the hint has to be right.
    renameSync(inFolder('caf\xe9', 'base.vmdk'), inFolder('caf\xe9', 'b\xe9.vmdk'));
    const { code, stderr } = await shell('vmdkfs info "$n/$n.vmdk"');
    expect(code).toBe(2);
    expect(stderr).toContain('base.vmdk');
  });

  test('is that of an extent whose descriptor has the same bytes under a wrong label', async () => {
    await succeed('vmdkfs create plain.vmdk -s 1M -t monolithicFlat');
    renameSync(inFolder('plain-flat.vmdk'), inFolder('caf\xe9-flat.vmdk'));
    const text = readFileSync(inFolder('plain.vmdk'), 'latin1');
    for (const label of ['UTF-8', 'x-none', 'GBK']) {
      const named = text.replace('plain-flat', 'caf\xe9-flat').replace('UTF-8', label);
      writeFileSync(inFolder('plain.vmdk'), named, 'latin1');
      await succeed('vmdkfs info plain.vmdk');
    }
  });

  test('is shown with its bytes where there is none', async () => {
    expect(await shell('vmdkfs info "$n.vmdk"')).toMatchObject({
      code: 4,
      stderr: 'vmdkfs: caf\\xE9.vmdk: no such file or directory\n',
    });
  });

  test.skipIf(isMissing('mounts at paths that are no text', 'fuse'))(
    'is that of a mountpoint, a log, a pid file and an overlay',
    async () => {
      mkdirSync(inFolder('caf\xe9'));
      await succeed('vmdkfs create "$n.vmdk" -s 1M');
      const mount = 'vmdkfs mount --overlay "o$n.vmdk" --log "$n.log" --pid-file "$n.pid"';
      try {
        await succeed(`${mount} "$n.vmdk" "$n"; printf hello | dd of="$n/disk.raw" conv=notrunc`);
        expect(readFileSync(inFolder('caf\xe9.pid'), 'utf8')).toMatch(/^\d+\n$/);
        const { stdout } = await succeed('vmdkfs list; vmdkfs stats "$n"');
        expect(stdout).toContain('caf\\xE9.vmdk');
        // The folder that a program is in may have such a name too.
        await succeed('cd "$n"; vmdkfs stats .');
      } finally {
        await succeed('vmdkfs unmount "$n"');
      }
      const { stdout } = await succeed(
        'vmdkfs map "o$n.vmdk"; vmdkfs convert -t monolithicFlat "o$n.vmdk" out.vmdk',
      );
      expect(stdout).toContain('ocaf\\xE9.vmdk\n');
      expect(readFileSync(inFolder('out-flat.vmdk'), 'latin1').slice(0, 5)).toBe('hello');
      expect(readdirSync(inFolder('caf\xe9'))).toEqual([]);
    },
  );
});
