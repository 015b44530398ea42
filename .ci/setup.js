/**
 * Makes a fresh machine ready: npm packages, Debian packages where they are missing and we are
 * root. Needs nothing but Node and npm. `node .ci/setup.js start` wants what a mount needs, `test`
 * also what the tests need, `bench` and `soak` what those need. What cannot be installed is said; tests that need it are skipped.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Programs, and the Debian packages that have them. */
const programs = {
  start: { fusermount3: 'fuse3' },
  pack: {},
  test: {
    fusermount3: 'fuse3',
    'qemu-img': 'qemu-utils',
    'qemu-storage-daemon': 'qemu-system-common',
    'mkfs.ext4': 'e2fsprogs',
    fuse2fs: 'fuse2fs',
    losetup: 'mount',
    sfdisk: 'fdisk',
    setpriv: 'util-linux',
    strace: 'strace',
    pgrep: 'procps',
    python3: 'python3-minimal',
    unshare: 'util-linux',
    prlimit: 'util-linux',
    zsh: 'zsh',
    fish: 'fish',
    groff: 'groff-base',
    '7zz': '7zip',
    vmdkinfo: 'libvmdk-utils python3-libvmdk',
  },
  soak: {
    fusermount3: 'fuse3',
    fio: 'fio',
    'qemu-img': 'qemu-utils',
    'mkfs.ext4': 'e2fsprogs',
    losetup: 'mount',
  },
  bench: {
    fusermount3: 'fuse3',
    fio: 'fio',
    'qemu-img': 'qemu-utils',
    'qemu-storage-daemon': 'qemu-system-common',
  },
};

function run(program, args) {
  const { status, error } = spawnSync(program, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return error === undefined && status === 0;
}

function isInstalled(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(join(folder, program)));
}

function modified(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/**
 * Every native binary we use ships inside its package, so nothing is compiled or fetched: no scripts.
 * Not in .npmrc, where it would keep `npm pack` from building what it packs.
 */
function installNodePackages() {
  if (modified('node_modules/.package-lock.json') >= modified('package-lock.json')) return;
  console.error('vmdkfs: installing npm packages');
  if (!run('npm', ['ci', '--ignore-scripts', '--include=dev', '--include=optional']))
    process.exit(1);
}

function installDebianPackages(wanted) {
  const missing = Object.keys(wanted).filter((program) => !isInstalled(program));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((program) => wanted[program].split(' ')))];
  if (process.getuid?.() === 0 && isInstalled('apt-get')) {
    console.error(`vmdkfs: installing ${packages.join(' ')}`);
    run('apt-get', ['-qq', 'update']);
    run('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', ...packages]);
  }
  for (const program of missing.filter((name) => !isInstalled(name))) {
    console.error(`vmdkfs: ${program} is missing (Debian package ${wanted[program]})`);
  }
}

const kind = process.argv[2] in programs ? process.argv[2] : 'start';
installNodePackages();
installDebianPackages(programs[kind]);
