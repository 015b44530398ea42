/** `vmdkfs demo`, which is what `npm start` runs: what it suggests works, and nothing is left over. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { check, CLI, run, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

/** Runs the demo with temporary files in `folder`. */
function demo(folder: string, prefix: readonly string[] = []): Promise<Outcome> {
  return run('env', [`TMPDIR=${folder}`, ...prefix, process.execPath, CLI, 'demo']);
}

describe('a demo that cannot be', () => {
  test('fails with 4 where there is no room for temporary files', async () => {
    const folder = join(tempFolder(), 'none');
    const { code, stderr, stdout } = await demo(folder);
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toMatch(/^vmdkfs: .*none\/vmdkfs-demo-.*: no such file or directory[^\n]*\n$/);
  });

  test.skipIf(isMissing('a demo without /dev/fuse', 'root', 'unshare'))(
    'fails with 3 where nothing can be mounted, and leaves nothing',
    async () => {
      const folder = tempFolder();
      const line = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"';
      const { code, stderr, stdout } = await demo(folder, [
        'unshare',
        '-m',
        'sh',
        '-c',
        line,
        'sh',
      ]);
      expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
      expect(stderr).toMatch(/^vmdkfs: \/dev\/fuse: does not exist; [^\n]*\n$/);
      expect(readdirSync(folder)).toEqual([]);
    },
  );
});

describe.skipIf(isMissing('the demo', 'fuse', 'ext4'))('the demo', () => {
  test('suggests what works, up to taking itself away', async () => {
    const folder = tempFolder();
    const { code, stderr, stdout } = await demo(folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [name = ''] = readdirSync(folder);
    const mountpoint = join(folder, name, 'mnt');
    onTestFinished(async () => {
      if (isMountedAt(mountpoint)) await run('fusermount3', ['-u', '-z', '--', mountpoint]);
    });
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toBe(`${join(folder, name, 'demo.vmdk')} is mounted on ${mountpoint}. Try:`);
    const [list = '', make = '', look = '', info = '', end = ''] = lines
      .filter((line) => line.startsWith('  '))
      .map((line) => line.trim());
    const outputOf = (line: string): Promise<string> =>
      check('sh', '-euc', `PATH="$PATH:/sbin:/usr/sbin"; ${line}`);

    expect(await outputOf(list)).toMatch(/ 268435456 .* disk\.raw\n/);
    await outputOf(make);
    // Mounting it is for root, and not in a place that is somebody's: look at it without.
    expect(look).toMatch(/mount -o loop|debugfs/);
    expect(await outputOf(`debugfs -R 'ls -l' ${join(mountpoint, 'disk.raw')}`)).toMatch(
      / lost\+found\n/,
    );
    expect(await outputOf(info)).toMatch(/^in use: .* for writing$/m);
    await outputOf(end);
    expect(isMountedAt(mountpoint)).toBe(false);
    expect(existsSync(join(folder, name))).toBe(false);
  });
});
