import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** capabilities(7). */
const CAP_SYS_RESOURCE = 1n << 24n;

/** What a test may need of the machine: the reason why it is not there, or undefined. */
const REQUIREMENTS = {
  fuse: () => {
    try {
      accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    } catch {
      return 'no usable /dev/fuse';
    }
    if (process.platform !== 'linux' || process.arch !== 'x64')
      return 'fuse-native is for x64 Linux';
    return missingProgram('fusermount3');
  },
  root: () => (process.getuid?.() === 0 ? undefined : 'not root'),
  loop: () => (existsSync('/dev/loop-control') ? missingProgram('losetup') : 'no loop devices'),
  qemu: () => missingProgram('qemu-img') ?? missingProgram('qemu-io'),
  storageDaemon: () => missingProgram('qemu-storage-daemon'),
  ext4: () => missingProgram('mkfs.ext4'),
  fuse2fs: () => missingProgram('fuse2fs'),
  script: () => missingProgram('script'),
  strace: () => missingProgram('strace'),
  bash: () => missingProgram('bash'),
  zsh: () => missingProgram('zsh'),
  fish: () => missingProgram('fish'),
  groff: () => missingProgram('groff'),
  setpriv: () => missingProgram('setpriv'),
  unshare: () => missingProgram('unshare'),
  prlimit: () => missingProgram('prlimit'),
  partx: () => missingProgram('partx'),
  blkid: () => missingProgram('blkid'),
  sfdisk: () => missingProgram('sfdisk'),
  sevenZip: () => missingProgram('7zz'),
  libvmdk: () =>
    spawnSync(SYSTEM_PYTHON, ['-c', 'import pyvmdk']).status === 0
      ? undefined
      : 'no libvmdk for Python',
  python3: () => missingProgram('python3'),
  mountFuse3: () =>
    existsSync('/sbin/mount.fuse3') || existsSync('/usr/sbin/mount.fuse3')
      ? undefined
      : 'no mount.fuse3',
  systemdAnalyze: () => missingProgram('systemd-analyze'),
  mayLowerOomScore: () => {
    const text = readFileSync('/proc/self/status', 'utf8');
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(text)?.[1] ?? '0'}`);
    return (effective & CAP_SYS_RESOURCE) === 0n ? 'no CAP_SYS_RESOURCE' : undefined;
  },
  samples: () => (existsSync(SAMPLES) ? undefined : `no sample images (${SAMPLES} does not exist)`),
} as const;

/** The Python of the distribution, which has the modules that come with it. */
export const SYSTEM_PYTHON = '/usr/bin/python3';

/** Real images, kept beside the checkout. */
export const SAMPLES = new URL('../../../shared/samples', import.meta.url).pathname;

export type Requirement = keyof typeof REQUIREMENTS;

/** Whether something that the tests named `title` need is missing; the reason is printed. */
export function isMissing(title: string, ...needs: readonly Requirement[]): boolean {
  for (const need of needs) {
    const reason = REQUIREMENTS[need]();
    if (reason === undefined) continue;
    console.log(`SKIPPED ${title}: ${reason}`);
    return true;
  }
  return false;
}

function missingProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, name))) ? undefined : `no ${name}`;
}
