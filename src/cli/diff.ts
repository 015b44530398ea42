/** `vmdkfs diff CHILD [--json]`. */
import type { Command } from 'commander';
import { attachImage } from '../block/attach-image.js';
import { heldRuns, type MapRun } from '../block/image-map.js';
import { noParent } from '../block/open-chain.js';
import { liveNotices, lookAtImage } from '../block/unlocked-image.js';
import { libcIfAny } from '../os/libc.js';
import { addOpenOptions, openOptions, type OpenFlags } from './open-options.js';
import { addReportOptions, printNotices, printResult, type ReportFlags } from './report.js';
import { formatSize } from './size.js';
import { formatRange, hex } from './table.js';

interface DiffFlags extends OpenFlags, ReportFlags {}

const HELP = `
Listed is what the child holds itself, grain by grain, whether or not the bytes differ from those of
its parent; what was punched or never written inside a grain counts as zeros. --json has {image,
parent, size, dataBytes, zeroBytes, ranges: [{start, length, kind}]}; kind is data or zero.`;

/** Adds the command to the program. */
export function addDiffCommand(program: Command): void {
  const command = program
    .command('diff')
    .summary('list what a child holds itself, and not its parent')
    .description('List the ranges of the disk that a child holds itself. The images are only read.')
    .argument('<child>', 'the VMDK file, or the descriptor of a split disk')
    .addHelpText('after', HELP)
    .action(diff);
  addReportOptions(command);
  addOpenOptions(command);
}

function diff(path: string, flags: DiffFlags): void {
  libcIfAny();
  lookAtImage(
    path,
    openOptions(flags, true),
    (image) => {
      const [, parent] = image.chain;
      if (parent === undefined) throw noParent(path);
      const notices = [...image.notices, ...liveNotices(image)];
      const ranges = rangesOf(heldRuns(attachImage(image.description)));
      return { notices, parent: parent.path, ranges };
    },
    ({ device: { size } }, { notices, parent, ranges }) => {
      const [dataBytes, zeroBytes] = [bytesOf(ranges, 'data'), bytesOf(ranges, 'zero')];
      printNotices(flags, notices);
      printResult(flags, { image: path, parent, size, dataBytes, zeroBytes, ranges }, [
        ...(ranges.length === 0 ? [] : [formatRange('Offset', 'Length', 'Kind')]),
        ...ranges.map(({ kind, length, start }) => formatRange(hex(start), hex(length), kind)),
        summary(path, parent, dataBytes, zeroBytes),
      ]);
    },
  );
}

/** A stretch that the child holds; the JSON shape. */
interface Range {
  readonly start: number;
  readonly length: number;
  readonly kind: MapRun['kind'];
}

/** Neighbours of one kind are one range, wherever in the files they are. */
function rangesOf(runs: Iterable<MapRun>): Range[] {
  const ranges: Range[] = [];
  for (const { kind, length, start } of runs) {
    const last = ranges.at(-1);
    if (last?.kind === kind && last.start + last.length === start) {
      ranges[ranges.length - 1] = { ...last, length: last.length + length };
    } else {
      ranges.push({ start, length, kind });
    }
  }
  return ranges;
}

function bytesOf(ranges: readonly Range[], kind: Range['kind']): number {
  return ranges.reduce((sum, range) => sum + (range.kind === kind ? range.length : 0), 0);
}

function summary(path: string, parent: string, data: number, zeros: number): string {
  if (data + zeros === 0) return `${path}: holds nothing that ${parent} does not`;
  return `${path}: holds ${formatSize(data)} of data and ${formatSize(zeros)} of zeros over ${parent}`;
}
