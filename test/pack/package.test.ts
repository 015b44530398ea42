/** What is in the package, and that it works wherever it is installed. */
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { list } from 'tar';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isMountedAt } from '../helpers/mounted.js';
import { isMissing } from '../helpers/requirements.js';
import { CLI, run } from '../helpers/run.js';
import { tempFolder } from '../helpers/temp-folder.js';
import { packFolder, runThere, tarball } from './machine.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Names in the package beside those of dist. */
const TEXTS = ['CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'package.json'];

async function names(): Promise<string[]> {
  const found: string[] = [];
  await list({
    file: tarball(),
    onReadEntry: ({ path }) => found.push(path.replace('package/', '')),
  });
  return found.toSorted();
}

describe('the package', () => {
  test('has what was built from a source that there is, declarations and texts, and no more', async () => {
    const found = await names();
    expect(found).toEqual(expect.arrayContaining([...TEXTS, 'dist/vmdkfs.1', 'dist/library.d.ts']));
    const odd = found.filter((name) => {
      if (TEXTS.includes(name) || name === 'dist/vmdkfs.1') return false;
      if (/^docs\/(?:[\w-]+\.md|systemd\/[\w.@-]+)$/.test(name)) return false;
      const source =
        /^dist\/(.*)\.js$/.exec(name) ?? /^dist\/((?:block|vmdk)\/.*|[\w-]+)\.d\.ts$/.exec(name);
      return source === null || !existsSync(join(ROOT, 'src', `${source[1] ?? ''}.ts`));
    });
    expect(odd).toEqual([]);
    expect(statSync(tarball()).size).toBeLessThan(400_000);
  });

  test('is installed with its program and its manual page, and without anything compiled', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    const outcome = await run(CLI, ['--version'], { env: { PATH: join(packFolder(), 'bin') } });
    expect(outcome).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    const page = join(packFolder(), 'global/share/man/man1/vmdkfs.1');
    expect(readFileSync(page, 'latin1')).toMatch(/^\.TH "VMDKFS" "1"/);
  });

  test('runs through npx', async () => {
    const folder = tempFolder();
    const args = ['--yes', '--package', tarball(), '--', 'vmdkfs'];
    const made = await runThere(folder, 'npx', [...args, 'create', 'disk.vmdk', '--size', '1M']);
    expect(made, made.stderr).toMatchObject({ code: 0 });
    expect(made.stdout).toBe('disk.vmdk: monolithicSparse, 1 MiB (1048576 bytes)\n');
    expect(statSync(join(folder, 'disk.vmdk')).size).toBeGreaterThan(0);
  });
});

describe.skipIf(isMissing('a package without fuse-native', 'fuse'))('without fuse-native', () => {
  test('it is installed, and mounts', async () => {
    const folder = tempFolder();
    // As on a processor that fuse-native has no binary for: it would be compiled, and cannot be.
    const machine = {
      npm_config_arch: 'mips',
      npm_config_allow_scripts: 'fuse-native',
      npm_config_ignore_scripts: 'false',
    };
    const args = ['install', '--global', '--prefix', folder, tarball()];
    const installed = await runThere(folder, 'npm', args, machine);
    expect(installed, installed.stderr).toMatchObject({ code: 0 });
    await rm(join(folder, 'lib/node_modules/vmdkfs/node_modules/fuse-native'), {
      recursive: true,
      force: true,
    });

    const cli = join(folder, 'bin/vmdkfs');
    const mountpoint = join(folder, 'mnt');
    const image = join(folder, 'disk.vmdk');
    mkdirSync(mountpoint);
    expect(await run(cli, ['create', image, '--size', '1M'])).toMatchObject({ code: 0 });
    onTestFinished(async () => {
      if (isMountedAt(mountpoint)) await run('fusermount3', ['-u', '-z', '--', mountpoint]);
    });
    const libfuse = await run(cli, ['mount', image, mountpoint, '--transport', 'libfuse']);
    expect(libfuse).toMatchObject({ code: 3, stdout: '' });
    expect(libfuse.stderr).toMatch(/^vmdkfs: .*fuse-native/);
    expect(await run(cli, ['mount', image, mountpoint])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const size = await run('stat', ['-c', '%s', join(mountpoint, 'disk.raw')]);
    expect(size.stdout).toBe('1048576\n');
    expect(await run(cli, ['unmount', mountpoint])).toMatchObject({ code: 0 });
  });
});
