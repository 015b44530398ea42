/** `vmdkfs demo`: a small image, mounted, and what to try on it. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { createImage } from '../block/create-image.js';
import { print } from './output.js';

const DEMO_BYTES = 256 * 1024 * 1024;

/** Adds the command to the program. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .summary('make a small image in a temporary folder, mount it, and say what to try')
    .action(async () => {
      const folder = mkdtempSync(join(tmpdir(), 'vmdkfs-demo-'));
      const image = join(folder, 'demo.vmdk');
      const mountpoint = join(folder, 'mnt');
      createImage(image, { size: DEMO_BYTES, backing: undefined });
      mkdirSync(mountpoint);
      await program.parseAsync(['mount', image, mountpoint], { from: 'user' });
      if (process.exitCode !== undefined && process.exitCode !== 0) return;
      print(
        `${image} is mounted on ${mountpoint}. Try:`,
        '',
        `  ls -l ${mountpoint}`,
        `  mkfs.ext4 ${mountpoint}/disk.raw`,
        `  sudo mount -o loop ${mountpoint}/disk.raw /mnt   # then: sudo umount /mnt`,
        `  cmp -n 1M ${mountpoint}/disk.raw /dev/zero`,
        `  ls -ls ${image}`,
        '',
        'and when you are done:',
        '',
        `  vmdkfs unmount ${mountpoint} && rm -r ${folder}`,
      );
    });
}
