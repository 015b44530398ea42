/** `vmdkfs convert IN OUT [--subformat NAME] [--parent FILE]`. */
import { Option, type Command } from 'commander';
import type { TargetKind } from '../block/convert/new-target.js';
import { printable } from '../errno.js';
import { convert, type ConversionResult } from '../mount/conversion.js';
import { UsageError } from '../mount/mount-error.js';
import { ADAPTERS, type Adapter } from '../vmdk/disk-geometry.js';
import {
  factsOfSubformat,
  STREAM_OPTIMIZED,
  SUBFORMAT_DEFAULT,
  SUBFORMATS,
} from '../vmdk/subformat.js';
import {
  addReportOptions,
  printNotices,
  printResult,
  withProgress,
  type ReportFlags,
} from './report.js';
import { formatSize } from './size.js';
import { parseAdapter, parseSubformat } from './subformat-names.js';

interface ConvertFlags extends ReportFlags {
  readonly subformat: TargetKind;
  readonly parent?: string;
  readonly adapter?: Adapter;
  readonly force?: true;
  readonly disk?: string;
  readonly rawInput?: true;
  readonly allowOutside?: true;
  readonly allowDevices?: true;
  readonly allowModifiedParent?: true;
  readonly lock: boolean;
}

/** Kinds that `create` does not make. */
const OTHER_KINDS = [STREAM_OPTIMIZED, 'raw'] as const;

const HELP = `
Subformats, in any case: those of create, and
  ${STREAM_OPTIMIZED}   compressed, for downloads and OVAs; it is read only
  raw               a plain file
A file that is recognised as something else (an archive, an image of another program, one part of a
disk) is refused; any other file without a sign of a VMDK is taken as a plain disk, and a line says
so. Holes and zeros take no space in the new image. It is made in a folder .vmdkfs-*.part beside its place and moved there when
it is complete and durable; what fails or is interrupted leaves nothing behind.`;

/** Adds the command to the program. */
export function addConvertCommand(program: Command): void {
  const command = program
    .command('convert')
    .summary('make an image of another subformat of a disk, or a plain file')
    .description('Convert an image, a disk in an OVA or a plain file to a new image.')
    .argument('<in>', 'the VMDK file, the descriptor of a split disk, an OVA, or a plain disk')
    .argument('<out>', 'the image to make')
    .addOption(
      new Option('-t, --subformat <name>', 'kind of image, in any case')
        .choices([...SUBFORMATS, ...OTHER_KINDS])
        .argParser(kindOf)
        .default(SUBFORMAT_DEFAULT),
    )
    .option('-b, --parent <image>', 'make a child of this image, which holds only what differs')
    .addOption(
      new Option(
        '-a, --adapter <type>',
        'the adapter that the descriptor names (default: that of <in>)',
      )
        .choices(ADAPTERS)
        .argParser(parseAdapter),
    )
    .option('--force', 'replace what is at <out>, when the new image is complete')
    .option('--raw-input', 'take <in> as a plain disk, whatever it looks like')
    .option('--disk <disk>', 'which disk of an OVA: its number from 1, or its name')
    .option('--allow-outside', 'open extents and parents outside the folder of the image')
    .option('--allow-devices', 'read block devices')
    .option('--allow-modified-parent', 'open a child although its parent was modified')
    .option('--no-lock', 'read although another program may be writing')
    .addHelpText('after', HELP)
    .action(run);
  addReportOptions(command);
}

async function run(input: string, output: string, flags: ConvertFlags): Promise<void> {
  const { adapter, parent, subformat: kind } = flags;
  if (parent !== undefined && !canBeChild(kind)) {
    const sparse = SUBFORMATS.filter((name) => canBeChild(name)).join(', ');
    throw new UsageError(
      `--parent needs a sparse subformat (${sparse}); ${kind} cannot have a parent`,
    );
  }
  if (flags.rawInput === true && flags.disk !== undefined) {
    throw new UsageError('--raw-input and --disk exclude each other');
  }
  const result = await withProgress(flags, (progress) =>
    convert(input, output, {
      kind,
      parent,
      adapter,
      permissions: {
        allowOutside: flags.allowOutside === true,
        allowDevices: flags.allowDevices === true,
        force: flags.allowModifiedParent === true,
      },
      disk: flags.disk,
      lock: flags.lock,
      form: flags.rawInput === true ? 'plain' : 'any',
      replace: flags.force === true,
      progress: (share) => {
        progress.show(`converting ${printable(input)}`, share);
      },
    }),
  );
  printNotices(flags, result.notices);
  printResult(flags, toJson(input, output, kind, parent, result), [
    describe(output, kind, parent, result),
  ]);
}

function kindOf(name: string): TargetKind {
  return parseSubformat(name, OTHER_KINDS);
}

function canBeChild(kind: TargetKind): boolean {
  return kind !== 'raw' && factsOfSubformat(kind).canBeChild;
}

/** The JSON shape; sizes in bytes. */
function toJson(
  input: string,
  output: string,
  subformat: TargetKind,
  parent: string | undefined,
  { allocated, files, size }: ConversionResult,
): unknown {
  return { input, image: output, subformat, parent: parent ?? null, size, allocated, files };
}

function describe(
  output: string,
  kind: TargetKind,
  parent: string | undefined,
  { allocated, size }: ConversionResult,
): string {
  const child = parent === undefined ? '' : `, a child of ${parent}`;
  return `${output}: ${kind}, ${formatSize(size)}${child}, ${formatSize(allocated)} on the host`;
}
