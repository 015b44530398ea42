/** What belongs to the system around a mount: fstab, systemd's units, the OOM killer. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { newImage } from '../helpers/images.js';
import { mountImage } from '../helpers/mounted.js';
import { processesWith } from '../helpers/processes.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run, type Outcome } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

// At the lowest priority on a busy machine a single command takes many seconds.
vi.setConfig({ testTimeout: 240_000 });

/**
 * Runs a script where /usr/local/bin has nothing but links to vmdkfs and node, as README says to
 * make them; in a mount namespace of its own, so that the machine has none of it.
 */
function withLinks(script: string, ...args: readonly string[]): Promise<Outcome> {
  const links = [
    'mount -t tmpfs none /usr/local/bin',
    'ln -s "$1" /usr/local/bin/vmdkfs',
    'ln -s "$2" /usr/local/bin/node',
    'shift 2',
  ];
  const whole = [...links, script].join('\n');
  const line = ['200', 'unshare', '-m', 'sh', '-euc', whole, 'sh', CLI, process.execPath, ...args];
  // Only what mount(8) and systemd give to the programs that they start.
  return run('timeout', line, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
}

describe.skipIf(isMissing('fstab', 'fuse', 'root', 'unshare', 'mountFuse3'))('fstab', () => {
  test('mounts and unmounts with the programs of the system', async () => {
    const image = await newImage('16M');
    const folder = tempFolder();
    const mountpoint = join(folder, 'mnt');
    mkdirSync(mountpoint);
    onTestFinished(() => {
      for (const pid of processesWith(mountpoint)) process.kill(pid, 'SIGTERM');
    });
    const options =
      'rw,suid,dev,exec,auto,user,nofail,_netdev,x-systemd.automount,X-mount.mkdir,comment=a_disk,allow_other';
    const table = join(folder, 'fstab');
    writeFileSync(table, `${image} ${mountpoint} fuse.vmdkfs ${options} 0 0\n`);
    const script = `
mount --bind "$1" /etc/fstab
ended() { while grep -q "^vmdkfs.*$2" /proc/[0-9]*/cmdline 2>/dev/null; do sleep 0.05; done; }
mount -a
printf hello | dd of="$2/disk.raw" bs=1 seek=70000 conv=notrunc status=none
findmnt -no FSTYPE,OPTIONS "$2"
umount "$2"
ended "$@"
mount -t fuse.vmdkfs "$3" "$2" -o ro,log="$4"
dd if="$2/disk.raw" bs=1 skip=70000 count=5 status=none; echo
findmnt -no FSTYPE,OPTIONS "$2"
umount "$2"
ended "$@"
mount -t fuse.vmdkfs "$3" "$2" -o frobnicate`;
    const outcome = await withLinks(script, table, mountpoint, image, join(folder, 'log'));
    const [first = '', ...others] = outcome.stdout.split('\n');
    expect(outcome.stderr).toMatch(/^vmdkfs: unknown mount option "frobnicate"/);
    expect(first).toMatch(/^fuse\.vmdkfs rw,.*allow_other/);
    expect(others[0]).toBe('hello');
    expect(others[1]).toMatch(/^fuse\.vmdkfs ro,/);
    expect(outcome.code).not.toBe(0);
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('');
  });
});

describe.skipIf(isMissing('units', 'root', 'unshare', 'systemdAnalyze'))(
  'units for systemd',
  () => {
    test('are accepted by systemd-analyze', async () => {
      const folder = tempFolder();
      cpSync(fileURLToPath(new URL('../../docs/systemd', import.meta.url)), folder, {
        recursive: true,
      });
      const instance = join(folder, 'vmdkfs@srv-vm.service');
      cpSync(join(folder, 'vmdkfs@.service'), instance);
      const units = [instance, join(folder, 'srv-vm.mount'), join(folder, 'srv-vm.automount')];
      const verify = 'exec systemd-analyze --man=no --recursive-errors=no verify "$@"';
      expect(await withLinks(verify, ...units)).toEqual({ code: 0, stdout: '', stderr: '' });
    });
  },
);

describe.skipIf(isMissing('the OOM score', 'fuse'))('the OOM killer', () => {
  const own = readFileSync('/proc/self/oom_score_adj', 'utf8').trim();

  test.skipIf(isMissing('a lower OOM score', 'mayLowerOomScore'))('spares the server', async () => {
    const { pid } = await mountImage(await newImage('1M'));
    const expected = Number(own) < 0 ? own : '-500';
    expect(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim()).toBe(expected);
  });

  test('a score that others gave is lowered as far as it may be', async () => {
    const image = await newImage('1M');
    const mountpoint = join(tempFolder(), 'mnt');
    mkdirSync(mountpoint);
    const script = [
      'echo 300 >/proc/self/oom_score_adj',
      '"$1" "$2" mount "$3" "$4" --pid-file "$4.pid"',
      'cat "/proc/$(cat "$4.pid")/oom_score_adj"',
      '"$1" "$2" unmount "$4"',
    ].join('\n');
    const args = ['-euc', script, 'sh', process.execPath, CLI, image, mountpoint];
    const outcome = await run('sh', args);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(['-500', '0', '300']).toContain(outcome.stdout.trim());
  });
});
