/** `vmdkfs create IMAGE --size N [--backing PARENT]`. */
import type { Command } from 'commander';
import { createImage } from '../block/create-image.js';
import { UsageError } from '../mount/mount-error.js';
import { formatSize, parseSize } from './size.js';
import { print } from './output.js';

interface CreateFlags {
  readonly size?: string;
  readonly backing?: string;
}

/** Adds the command to the program. */
export function addCreateCommand(program: Command): void {
  program
    .command('create')
    .summary('make a new, empty image (monolithicSparse)')
    .description('Make a new, empty VMDK image; with --backing, a child that holds what differs.')
    .argument('<image>', 'the file to make; it must not exist')
    .option('-s, --size <size>', 'size of the disk: 20G, 512M, bytes (default: that of the parent)')
    .option('-b, --backing <parent>', 'an image that the new one is a child of')
    .action((image: string, flags: CreateFlags) => {
      if (flags.size === undefined && flags.backing === undefined) {
        throw new UsageError('create needs --size, or --backing to take the size from');
      }
      const size = flags.size === undefined ? undefined : parseSize(flags.size);
      const made = createImage(image, { size, backing: flags.backing });
      const child = flags.backing === undefined ? '' : `, a child of ${flags.backing}`;
      print(`${image}: monolithicSparse, ${formatSize(made)}${child}`);
    });
}
