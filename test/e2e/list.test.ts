/** `vmdkfs list`, beside whatever else is mounted on the machine. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newImage } from '../helpers/images.js';
import { isMountedAt, mountImage } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { run, shell, vmdkfs } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';

interface Mount {
  readonly mountpoint: string;
  readonly [name: string]: unknown;
}

interface Listed {
  readonly lines: readonly string[];
  /** The mounts at some mountpoints, in their order. */
  readonly at: (...mountpoints: readonly string[]) => (Mount | undefined)[];
}

/** What is listed; other mounts may come and go between the two calls. */
async function list(): Promise<Listed> {
  const [table, json] = await Promise.all([vmdkfs('list'), vmdkfs('list', '--json')]);
  expect([table.code, table.stderr, json.code, json.stderr]).toEqual([0, '', 0, '']);
  const { mounts } = JSON.parse(json.stdout) as { readonly mounts: readonly Mount[] };
  return {
    lines: table.stdout.split('\n'),
    at: (...mountpoints) =>
      mountpoints.map((path) => mounts.find(({ mountpoint }) => mountpoint === path)),
  };
}

describe.skipIf(isMissing('list', 'fuse'))('vmdkfs list', () => {
  test('shows who has mounted what where, and how much was read and written', async () => {
    const images = [await newImage('64M'), await newImage('1M')] as const;
    const written = await mountImage(images[0]);
    const read = await mountImage(images[1], '-r', '--transport', 'libfuse');
    await shell('dd if=/dev/urandom of="$1" bs=1M count=3 conv=notrunc status=none', written.disk);
    await shell('cat "$1" >/dev/null', read.disk);
    const { at, lines } = await list();
    const userId = process.getuid?.();
    const [first, second] = at(written.mountpoint, read.mountpoint);
    const known = { state: 'mounted', reason: null, userId };
    expect(first).toMatchObject({
      ...known,
      ...{ image: images[0], pid: written.pid, readOnly: false, transport: 'kernel' },
      ...{ size: 64 * 2 ** 20, bytesRead: 0, bytesWritten: 3 * 2 ** 20 },
    });
    expect(second).toMatchObject({
      ...known,
      ...{ image: images[1], pid: read.pid, readOnly: true, transport: 'libfuse' },
      ...{ size: 2 ** 20, bytesRead: 2 ** 20, bytesWritten: 0 },
    });
    expect(Date.parse(String(first?.['started']))).toBeLessThanOrEqual(Date.now());
    expect(lines[0]).toMatch(/^MOUNTPOINT +STATE +USER +PID +SINCE +SIZE +READ +WRITTEN +IMAGE$/);
    const lineOf = (path: string): string =>
      lines.find((line) => line.startsWith(`${path} `)) ?? '';
    expect(lineOf(written.mountpoint)).toMatch(
      new RegExp(
        `^\\S+ +rw +\\S+ +${written.pid} +[\\d-]+ [\\d:]+ +64 MiB +0 bytes +3 MiB +${images[0]}$`,
      ),
    );
    expect(lineOf(read.mountpoint)).toMatch(
      new RegExp(
        `^\\S+ +ro +\\S+ +${read.pid} +[\\d-]+ [\\d:]+ +1 MiB +1 MiB +0 bytes +${images[1]}$`,
      ),
    );
    await written.unmount();
    expect((await list()).at(written.mountpoint, read.mountpoint)).toMatchObject([undefined, {}]);
  }, 120_000);

  test('does not wait for those that hang, and says what to do about the dead', async () => {
    const image = await newImage('1M');
    const hanging = await mountImage(image, '-r');
    const well = await mountImage(image, '-r');
    const dead = join(tempFolder(), 'a mount\nof two lines');
    mkdirSync(dead);
    expect((await vmdkfs('mount', image, dead, '-r', '--transport', 'libfuse')).code).toBe(0);
    onTestFinished(async () => {
      if (isMountedAt(dead.replaceAll(' ', '\\040').replaceAll('\n', '\\012')))
        await run('fusermount3', ['-u', '-z', '--', dead]);
    });
    const pid = Number((await list()).at(dead)[0]?.['pid']);
    process.kill(pid, 'SIGKILL');
    // The server may take its time to die.
    for (let round = 0; (await list()).at(dead)[0]?.['state'] !== 'dead'; round++) {
      if (round === 20) throw new Error('the server does not die');
    }
    process.kill(hanging.pid, 'SIGSTOP');
    onTestFinished(() => {
      process.kill(hanging.pid, 'SIGCONT');
    });
    const { at, lines } = await list();
    process.kill(hanging.pid, 'SIGCONT');
    expect(at(hanging.mountpoint, well.mountpoint, dead)).toMatchObject([
      { state: 'silent', reason: 'its server did not answer within 5 s', image, pid: null },
      { state: 'mounted', reason: null },
      { state: 'dead', reason: 'its server has died', image, started: null, size: null },
    ]);
    const shown = dead.replace('\n', '?');
    expect(lines).toContain(`${hanging.mountpoint}: its server did not answer within 5 s`);
    expect(lines).toContain(
      `${shown}: its server has died; clean up with: vmdkfs unmount ${shown}`,
    );
    expect(lines.some((line) => line.startsWith(`${shown}  dead `))).toBe(true);
    const { code, stderr } = await vmdkfs('unmount', dead);
    expect({ code, stderr }).toEqual({
      code: 4,
      stderr: expect.stringContaining(`${shown} is unmounted`) as string,
    });
    expect((await list()).at(dead)).toEqual([undefined]);
  }, 120_000);

  test('shows mounts of others without what only their servers know', async ({ skip }) => {
    if (isMissing('list of another user', 'root', 'setpriv')) skip();
    const { mountpoint } = await mountImage(await newImage('1M'));
    const user = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const program = [process.execPath, new URL('../../dist/cli/main.js', import.meta.url).pathname];
    const outcome = await run('setpriv', [...user, ...program, 'list', '--json'], { cwd: '/' });
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    const { mounts } = JSON.parse(outcome.stdout) as { readonly mounts: readonly Mount[] };
    expect(mounts.find((mount) => mount.mountpoint === mountpoint)).toMatchObject({
      ...{ state: 'forbidden', user: 'root', userId: 0, pid: null, bytesWritten: null },
      reason: 'its server answers only user 0, who mounted it, and root',
    });
  }, 120_000);

  test('says so where nothing is mounted', async ({ skip }) => {
    if (isMissing('list of no mounts', 'root', 'unshare')) skip();
    const program = new URL('../../dist/cli/main.js', import.meta.url).pathname;
    // A mount namespace of its own, where the mounts of the machine are taken away.
    const line =
      'grep -F " fuse.vmdkfs " /proc/self/mounts | cut -d" " -f2 | while read -r path; do umount -l "$(printf %b "$path")"; done; exec "$@"';
    const inside = (...args: readonly string[]): Promise<unknown> =>
      run('unshare', [
        ...['-m', '--propagation', 'private', 'sh', '-c', line, 'sh'],
        ...[process.execPath, program, 'list', ...args],
      ]);
    expect(await inside()).toEqual({
      code: 0,
      stdout: '',
      stderr: 'vmdkfs: no image is mounted\n',
    });
    expect(await inside('-q')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await inside('--json')).toEqual({
      code: 0,
      stdout: '{\n  "mounts": []\n}\n',
      stderr: '',
    });
  }, 120_000);
});
