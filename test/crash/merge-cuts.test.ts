/**
 * A power cut at any moment of a merge: in every state the child shows the same bytes, a second child
 * of the parent shows the old ones or is refused, and merging again ends as if nothing had happened.
 */
import { afterAll, describe, expect, test, vi } from 'vitest';
import { checkAndRepair } from '../../src/block/check/check-and-repair.js';
import { mergeChild } from '../../src/block/merge-child.js';
import { openImage } from '../../src/block/open-image.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import { inspectFiles } from './check-state.js';
import { holdsNothing } from '../helpers/made-child.js';
import { recordChanges } from './cut-states.js';
import { loadFiles, MEMORY_FOLDER, memoryFiles, openCount, type HostEvent } from './memory-host.js';
import { MERGE_PAIRS, type MergePair } from './merge-pairs.js';
import { Random } from './random.js';
import { replay } from './replay.js';

vi.mock('node:fs', async (original) => {
  const { fsInMemory } = await import('./memory-host.js');
  return fsInMemory(await original());
});
vi.mock('../../src/os/file-io.js', async (original) => {
  const { fileIoInMemory } = await import('./memory-host.js');
  return fileIoInMemory(await original());
});

/** States of all pairs together; a state costs as much as ten of those of a mounted disk. */
const STATES = Number(process.env['VMDKFS_CRASH_STATES'] ?? 12_000) / 15;

const PLAN = { exhaustive: 256, samples: 12 };
const CHILD = `${MEMORY_FOLDER}/top.vmdk`;
const PARENT = `${MEMORY_FOLDER}/base.vmdk`;
const SECOND = `${MEMORY_FOLDER}/second.vmdk`;

/** Share of the states from which a merge goes on and is cut off again; those `check` looks at. */
const AGAIN = 0.01;
const CHECKED = 0.1;

function merge(): void {
  mergeChild(CHILD, {
    permissions: {},
    deleteChild: false,
    lock: false,
    warn: () => undefined,
    progress: () => undefined,
  });
}

function readDisk(path: string): Buffer {
  const { device } = openImage(path, { readOnly: true });
  try {
    const bytes = Buffer.alloc(device.size);
    device.read(bytes, 0, bytes.length, 0);
    return bytes;
  } finally {
    device.close();
  }
}

/** What a second child shows; undefined where it is refused, as it should be after the change. */
function readSecond(): Buffer | undefined {
  try {
    return readDisk(SECOND);
  } catch (error) {
    if (error instanceof VmdkError && error.code === 'VMDK_CID_MISMATCH') return undefined;
    throw error;
  }
}

function damage(): string[] {
  return [...inspectFiles().values()].flatMap(({ problems }) => problems);
}

/** What `vmdkfs check` calls an error. */
function ownCheck(): string[] {
  const options = { permissions: {}, disk: undefined, lock: false, progress: () => undefined };
  return checkAndRepair(CHILD, { ...options, repair: false })
    .problems.list.filter(({ severity }) => severity === 'error')
    .map(({ message }) => message);
}

/** Merges again; all that is wrong then. */
function problemsMergedAgain(content: Buffer): string[] {
  merge();
  const problems = damage();
  if (!readDisk(PARENT).equals(content)) problems.push('the parent is wrong');
  if (!readDisk(CHILD).equals(content)) problems.push('the child is wrong');
  if (!holdsNothing(CHILD)) problems.push('the child is not empty');
  for (const [path, { uncleanShutdown }] of inspectFiles()) {
    if (uncleanShutdown === 1) problems.push(`${path} is marked as not closed`);
  }
  return problems;
}

/** All that is wrong with the files in memory, which are merged. */
function problemsOf({ before, content }: MergePair, isChecked: boolean): string[] {
  const problems = damage();
  try {
    if (!readDisk(CHILD).equals(content)) problems.push('the child shows other bytes');
    if (readSecond()?.equals(before) === false) problems.push('the second child shows other bytes');
    if (isChecked) problems.push(...ownCheck());
    problems.push(...problemsMergedAgain(content).map((problem) => `merged again: ${problem}`));
  } catch (error) {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  if (openCount() > 0) problems.push(`${openCount()} files were left open`);
  return problems;
}

let states = 0;
let statesAgain = 0;

/** Cuts off a merge of `pair`; pairs as some of the cuts left them. */
function cut(
  pair: MergePair,
  random: Random,
  wanted: number,
  change = (events: readonly HostEvent[]): readonly HostEvent[] => events,
): { left: MergePair[]; tried: number; wrong: string[] } {
  loadFiles(pair.files);
  const events = recordChanges(merge);
  const left: MergePair[] = [];
  const wrong: string[] = [];
  let tried = 0;
  const { content } = pair;
  const disk = { ...pair, image: 'top.vmdk', zones: [], grainBytes: 0, isForQemu: false };
  replay({ disk, events: change(events) }, PLAN, random, {
    isDone: () => tried >= wanted || wrong.length > 2,
    opened: () => undefined,
    state: (_point, describeState) => {
      tried += 1;
      const copies = random.chance(AGAIN) ? copyFiles() : undefined;
      if (copies !== undefined) left.push({ ...pair, files: copies, content });
      const problems = problemsOf(pair, random.chance(CHECKED));
      if (problems.length > 0) wrong.push([describeState(), ...problems].join('\n'));
    },
  });
  return { left, tried, wrong };
}

function copyFiles(): Map<string, Buffer> {
  return new Map(
    memoryFiles().map(({ content, path }) => [
      path.slice(MEMORY_FOLDER.length + 1),
      Buffer.from(content),
    ]),
  );
}

describe('a power cut at any moment of a merge changes nothing of the disk', () => {
  afterAll(() => {
    console.log(`${states} cut-off merges done again, ${statesAgain} of them cut off twice`);
  });

  test.each(MERGE_PAIRS)('$name', { timeout: 600_000 }, ({ make }) => {
    const share = Math.ceil(STATES / MERGE_PAIRS.length);
    for (let seed = 1, tried = 0; tried < share; seed++) {
      const random = new Random(seed);
      const first = cut(make(seed), random, share);
      expect(first.wrong, `seed ${seed}`).toEqual([]);
      tried += first.tried;
      for (const pair of first.left.slice(0, 2)) {
        const second = cut(pair, random, share / 4);
        expect(second.wrong, `seed ${seed}, after a cut`).toEqual([]);
        tried += second.tried;
        statesAgain += second.tried;
      }
      states += tried;
    }
  });
});

// The same states with barriers that do not hold: proof that a wrong order would be seen.
describe('it would be noticed', () => {
  test.each([
    ['if the child lost its grains before its parent has them', 'base.vmdk'],
    ['if the grains of the child went before the entries that lead there', 'top.vmdk'],
  ])('%s', { timeout: 600_000 }, (_name, file) => {
    const [pair] = MERGE_PAIRS;
    const { wrong } = cut(pair!.make(1), new Random(1), 10_000, (events) =>
      events.filter((event) => event.kind !== 'barrier' || !event.file.path.endsWith(file)),
    );
    expect(wrong.length).toBeGreaterThan(0);
  });
});
