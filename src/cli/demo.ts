/** `vmdkfs demo`: a small image, mounted, and what to try on it. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { mkdirSync, rmSync } from '../os/host-fs.js';
import { createImage } from '../block/create-image.js';
import { print } from './output.js';

const DEMO_BYTES = 256 * 1024 * 1024;

/** Adds the command to the program. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .summary('make a small image in a temporary folder, mount it, and say what to try')
    .action(() => demo(program));
}

async function demo(program: Command): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-demo-'));
  const image = join(folder, 'demo.vmdk');
  const mountpoint = join(folder, 'mnt');
  let isMounted = false;
  try {
    createImage(image, { size: DEMO_BYTES, backing: undefined });
    mkdirSync(mountpoint);
    await program.parseAsync(['mount', image, mountpoint], { from: 'user' });
    isMounted = process.exitCode === undefined || process.exitCode === 0;
  } finally {
    if (!isMounted) rmSync(folder, { recursive: true });
  }
  if (isMounted) print(...suggestions(folder, image, mountpoint));
}

function suggestions(folder: string, image: string, mountpoint: string): string[] {
  const disk = join(mountpoint, 'disk.raw');
  // Without allow_other not even root sees the mount of an ordinary user, whose PATH lacks /sbin in
  // some distributions.
  const [mkfs, look] =
    process.getuid?.() === 0
      ? ['mkfs.ext4', `mount -o loop ${disk} /mnt   # then: umount /mnt`]
      : ['/sbin/mkfs.ext4', `/sbin/debugfs ${disk}`];
  const called = process.argv[1] ?? 'vmdkfs';
  const command = basename(called) === 'vmdkfs' ? 'vmdkfs' : called;
  return [
    `${image} is mounted on ${mountpoint}. Try:`,
    '',
    `  ls -ls ${mountpoint}`,
    `  ${mkfs} ${disk}`,
    `  ${look}`,
    `  ${command} info ${image}`,
    '',
    'and when you are done:',
    '',
    `  ${command} unmount ${mountpoint} && rm -r ${folder}`,
  ];
}
