/** `vmdkfs map IMAGE [--json]`. */
import type { Command } from 'commander';
import { attachLayers } from '../block/attach-image.js';
import { mapImage, type MapRun } from '../block/image-map.js';
import type { OpenedImage } from '../block/open-image.js';
import { liveNotices, lookAtImage } from '../block/unlocked-image.js';
import { printable } from '../errno.js';
import { libcIfAny } from '../os/libc.js';
import { addFlatOption, addOpenOptions, openOptions, type OpenFlags } from './open-options.js';
import {
  addReportOptions,
  printItems,
  printLines,
  printNotices,
  type ReportFlags,
} from './report.js';
import { formatRange, hex } from './table.js';

interface MapFlags extends OpenFlags, ReportFlags {}

const HELP = `
The table has what holds data, as that of qemu-img map has; zeros are left out. --json has all of the
disk: {start, length, depth, present, zero, data, compressed, file, offset}, in bytes. depth 0 is the
image, 1 its parent; file and offset are there where the bytes stand in a file as they are.`;

/** Adds the command to the program. */
export function addMapCommand(program: Command): void {
  const command = program
    .command('map')
    .summary('show which bytes of a disk are in which file')
    .description(
      'Show for each stretch of a disk which image of the chain holds it, and where. The image is only read.',
    )
    .argument('<image>', 'the VMDK file, the descriptor of a split disk, or an OVA')
    .addHelpText('after', HELP)
    .action(map);
  addReportOptions(command);
  addOpenOptions(command);
  addFlatOption(command);
}

function map(path: string, flags: MapFlags): void {
  // Without the C library all of a file counts as data.
  libcIfAny();
  lookAtImage(
    path,
    openOptions(flags, true),
    (image) => {
      const notices = liveNotices(image);
      // Nothing is printed of an image that changes before all of it was seen without damage.
      if (notices.length > 0) readThrough(runsOf(image));
      return [...image.notices, ...notices];
    },
    (image, notices) => {
      printNotices(flags, notices);
      if (flags.json === true) printItems(inJson(runsOf(image)));
      else printLines(linesOf(runsOf(image)));
    },
  );
}

function readThrough(runs: Iterator<MapRun>): void {
  while (runs.next().done !== true);
}

function runsOf({ description }: OpenedImage): Generator<MapRun> {
  return mapImage(attachLayers(description));
}

function* inJson(runs: Iterable<MapRun>): Generator {
  for (const run of runs) yield toJson(run);
}

function* linesOf(runs: Iterable<MapRun>): Generator<string> {
  yield HEADING;
  for (const run of runs) if (run.kind === 'data') yield printable(lineOf(run));
}

/** The JSON shape; bytes. */
function toJson(run: MapRun): unknown {
  const { depth, isCompressed, kind, length, place, start } = run;
  return {
    start,
    length,
    depth,
    present: kind !== 'nothing',
    zero: kind !== 'data',
    data: kind === 'data',
    compressed: isCompressed,
    ...place,
  };
}

const HEADING = formatRange('Offset', 'Length', 'Mapped to', 'File');

function lineOf({ isCompressed, length, place, start }: MapRun): string {
  const to = place === undefined ? '' : hex(place.offset);
  return formatRange(hex(start), hex(length), isCompressed ? 'compressed' : to, place?.file ?? '');
}
