/** What has to be true of a disk after a crash, and what is wrong with the one that is in memory. */
import type { BlockDevice } from '../../src/block/block-device.js';
import { checkAndRepair } from '../../src/block/check/check-and-repair.js';
import { openImage } from '../../src/block/open-image.js';
import { inspectCowd } from '../helpers/cowd-file.js';
import { pattern } from '../helpers/made-disk.js';
import { inspectSeSparse } from '../helpers/sesparse-file.js';
import { inspectSparse } from '../helpers/sparse-file.js';
import type { TinyDisk } from './tiny-disks.js';
import { memoryFile, memoryFiles, openCount, type MemoryFile } from './memory-host.js';
import type { Random } from './random.js';
import type { CrashPoint } from './replay.js';
import { diskOffset, imagePath, randomRange } from './workload.js';

/** Shares of the states that `vmdkfs check` looks at, and mends before they are written to. */
const CHECKED = 0.2;
const MENDED = 0.05;

const CHECK = { permissions: {}, disk: undefined, lock: false, progress: () => undefined };

/** What an inspector says of one file. */
interface Facts {
  /** Undefined where the format has none. */
  readonly uncleanShutdown: number | undefined;
  readonly entries: ArrayLike<number | bigint>;
  readonly problems: readonly string[];
}

/** What the sparse files of a disk say; undefined for the other files. */
export type Inspection = ReadonlyMap<string, Facts>;

/** Looks at every sparse file in memory as another program would. */
export function inspectFiles(): Inspection {
  const found = new Map<string, Facts>();
  for (const file of memoryFiles()) {
    const facts = inspectFile(file);
    if (facts !== undefined) found.set(file.path, facts);
  }
  return found;
}

function inspectFile(file: MemoryFile): Facts | undefined {
  const magic = file.content.toString('latin1', 0, 4);
  if (magic === 'KDMV') return inspectSparse(file.content);
  if (magic === 'COWD') return inspectCowd(file.content);
  if (magic !== '\xbe\xba\xfe\xca') return undefined;
  const read = (at: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    file.read(bytes, 0, length, at);
    return bytes;
  };
  return { uncleanShutdown: undefined, ...inspectSeSparse({ fileBytes: file.length, read }) };
}

/** The CID of the image, as it stands in its descriptor. */
function cidOf(disk: TinyDisk): string {
  const text = memoryFile(disk.image).content.toString('latin1', 0, 16 * 1024);
  return /^CID=([0-9a-f]{8})$/m.exec(text)?.[1] ?? 'none';
}

/** What is known of the disk when it was last opened. */
export interface SessionStart {
  readonly inspection: Inspection;
  readonly cid: string;
  readonly content: Buffer;
}

/** What a session that begins now starts from. */
export function sessionStart(disk: TinyDisk): SessionStart {
  return { inspection: inspectFiles(), cid: cidOf(disk), content: readDisk(disk) };
}

/** All that is wrong with the disk in memory; `read` gets what it holds. */
export function checkState(
  disk: TinyDisk,
  point: CrashPoint,
  start: SessionStart,
  random: Random,
  read?: (content: Buffer) => void,
): string[] {
  const inspection = inspectFiles();
  const problems = problemsOf(inspection);
  if (!point.isClosing) problems.push(...unmarkedChanges(start.inspection, inspection));
  try {
    const content = readDisk(disk);
    const problem = point.model.problem(content);
    if (problem !== undefined) problems.push(problem);
    if (cidOf(disk) === start.cid) problems.push(...unnoticed(point, content, start));
    read?.(Buffer.from(content));
    if (random.chance(CHECKED)) problems.push(...ownCheck(disk));
    if (random.chance(MENDED)) problems.push(...mendDisk(disk, content));
    problems.push(...writeMore(disk, content, random));
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  }
  if (openCount() > 0) problems.push(`${openCount()} files were left open`);
  return problems;
}

/** What children of the old state do not notice: they fit by the CID alone, and it is the same. */
function unnoticed(point: CrashPoint, content: Buffer, start: SessionStart): string[] {
  if (!content.equals(start.content)) return ['the disk has changed, and its CID is the same'];
  const isWritten = point.isFlushed && point.isWritten;
  return isWritten ? ['the disk was written to, and its CID is the same'] : [];
}

function problemsOf(inspection: Inspection): string[] {
  return [...inspection.values()].flatMap(({ problems }) => problems);
}

/** Files that are marked as closed, though their tables have changed. */
function unmarkedChanges(before: Inspection, after: Inspection): string[] {
  return [...after].flatMap(([path, { entries, uncleanShutdown }]) => {
    if (uncleanShutdown !== 0) return [];
    const old = before.get(path);
    if (old?.uncleanShutdown !== 0) return [`${path}: its uncleanShutdown went away`];
    return isSame(entries, old.entries)
      ? []
      : [`${path}: tables have changed, and uncleanShutdown is 0`];
  });
}

function isSame(some: Facts['entries'], others: Facts['entries']): boolean {
  for (let index = 0; index < some.length; index++) {
    if (some[index] !== others[index]) return false;
  }
  return true;
}

function readZones(disk: TinyDisk, device: BlockDevice): Buffer {
  const content = Buffer.alloc(disk.content.length);
  let at = 0;
  for (const { length, start } of disk.zones) {
    device.read(content, at, length, start);
    at += length;
  }
  return content;
}

/** What the zones of a disk hold. */
export function readDisk(disk: TinyDisk): Buffer {
  const { device } = openImage(imagePath(disk), { readOnly: true });
  try {
    return readZones(disk, device);
  } finally {
    device.close();
  }
}

/** What `vmdkfs check` calls an error. */
function ownCheck(disk: TinyDisk): string[] {
  const { problems } = checkAndRepair(imagePath(disk), { ...CHECK, repair: false });
  return problems.list
    .filter(({ severity }) => severity === 'error')
    .map(({ message }) => `vmdkfs check: ${message}`);
}

/** `vmdkfs check --repair` has to leave a disk that was closed cleanly and holds the same. */
function mendDisk(disk: TinyDisk, content: Buffer): string[] {
  const { problems } = checkAndRepair(imagePath(disk), { ...CHECK, repair: true });
  // Space that nothing leads to may stay a part of the file.
  const left = problems.list.filter(({ severity }) => severity !== 'leak');
  const found = [...left.map(({ message }) => message), ...problemsOf(inspectFiles())];
  if (!readDisk(disk).equals(content)) found.push('other bytes');
  for (const [path, { uncleanShutdown }] of inspectFiles()) {
    if (uncleanShutdown === 1) found.push(`${path} is marked as not closed`);
  }
  return found.map((problem) => `after mending: ${problem}`);
}

/** The disk is opened for writing, written to, closed, and looked at again. */
function writeMore(disk: TinyDisk, content: Buffer, random: Random): string[] {
  const before = inspectFiles();
  const { device } = openImage(imagePath(disk), { readOnly: false });
  try {
    for (let count = 0; count < 2; count++) {
      const { at, length } = randomRange(random, disk, 4);
      const bytes = pattern(length, 200 + count);
      device.write(bytes, 0, length, diskOffset(disk, at));
      bytes.copy(content, at);
    }
  } finally {
    device.close();
  }
  const after = inspectFiles();
  const problems = problemsOf(after).map((problem) => `after writing more: ${problem}`);
  for (const [path, { uncleanShutdown }] of after) {
    // An extent to which nothing was written keeps the mark that it had.
    if (uncleanShutdown !== 1 || before.get(path)?.uncleanShutdown === 1) continue;
    problems.push(`after writing more, ${path} is marked as not closed`);
  }
  if (!readDisk(disk).equals(content)) problems.push('after writing more, other bytes changed too');
  return problems;
}
