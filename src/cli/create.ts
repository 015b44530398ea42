/** `vmdkfs create IMAGE --size N [--subformat NAME] [--backing PARENT] [--adapter TYPE]`. */
import { Option, type Command } from 'commander';
import { createImage, isOutsideFolder } from '../block/create-image.js';
import { UsageError } from '../mount/mount-error.js';
import { ADAPTER_DEFAULT, ADAPTERS, type Adapter } from '../vmdk/disk-geometry.js';
import {
  factsOfSubformat,
  SUBFORMAT_DEFAULT,
  SUBFORMATS,
  type Subformat,
} from '../vmdk/subformat.js';
import { addPermissionOptions, permissionsOf, type PermissionFlags } from './open-options.js';
import { formatSize, parseSize } from './size.js';
import { parseAdapter, parseSubformat } from './subformat-names.js';
import { print } from './output.js';
import { addQuietOption, printNotices, type QuietFlags } from './report.js';

interface CreateFlags extends PermissionFlags, QuietFlags {
  readonly size?: string;
  readonly backing?: string;
  /** Commander's way to say `--no-lock`. */
  readonly lock: boolean;
  readonly subformat: Subformat;
  readonly adapter: Adapter;
}

const HELP = `
All subformats but monolithicSparse are a descriptor and extents in files beside it.
vmfsPreallocated and vmfsEagerZeroedThick take all their space at once; only the sparse ones can
have a parent.`;

/** Adds the command to the program. */
export function addCreateCommand(program: Command): void {
  const command = program
    .command('create')
    .summary('make a new, empty image of any subformat that can be written')
    .description('Make a new, empty VMDK image; with --backing, a child that holds what differs.')
    .argument('<image>', 'the file to make; neither it nor its extents may exist')
    .option('-s, --size <size>', 'size of the disk: 20G, 512M, bytes (default: that of the parent)')
    .addOption(
      new Option('-t, --subformat <name>', 'kind of image, in any case')
        .choices(SUBFORMATS)
        .argParser(kindOf)
        .default(SUBFORMAT_DEFAULT),
    )
    .option('-b, --backing <parent>', 'an image that the new one is a child of')
    .addOption(
      new Option('-a, --adapter <type>', 'the adapter that the descriptor names')
        .choices(ADAPTERS)
        .argParser(parseAdapter)
        .default(ADAPTER_DEFAULT),
    )
    .option('--no-lock', 'read the parent although another program may be writing to it')
    .addHelpText('after', HELP)
    .action(create);
  addQuietOption(command);
  addPermissionOptions(command);
}

function create(image: string, flags: CreateFlags): void {
  const { adapter, backing, subformat } = flags;
  if (flags.size === undefined && backing === undefined) {
    throw new UsageError('create needs --size, or --backing to take the size from');
  }
  if (backing !== undefined && !factsOfSubformat(subformat).canBeChild) {
    const sparse = SUBFORMATS.filter((name) => factsOfSubformat(name).canBeChild);
    throw new UsageError(
      `--backing needs a sparse subformat (${sparse.join(', ')}); ${subformat} is flat and cannot have a parent`,
    );
  }
  const size = flags.size === undefined ? undefined : parseSize(flags.size);
  const permissions = permissionsOf(flags);
  const { lock } = flags;
  const made = createImage(image, { size, backing, subformat, adapter, permissions, lock });
  const child = backing === undefined ? '' : `, a child of ${backing}`;
  if (flags.quiet !== true) print(`${image}: ${subformat}, ${formatSize(made)}${child}`);
  if (backing !== undefined && isOutsideFolder(image, backing)) {
    printNotices(flags, [
      `${backing} lies outside the folder of ${image}: mounting ${image} will need --allow-outside`,
    ]);
  }
}

function kindOf(name: string): Subformat {
  if (name.toLowerCase() === 'streamoptimized') {
    throw new UsageError(
      'streamOptimized images are written once, so an empty one would stay empty; choose another subformat, or make one of a disk with vmdkfs convert',
    );
  }
  return parseSubformat(name);
}
