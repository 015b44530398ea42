/**
 * The states that a power cut may leave behind. At every change of a trace: all that a barrier of
 * the same file covers is there; of the changes since then, of any file, each may be there, or lost,
 * or torn between sectors. Where a change lies behind the end of its file and is lost, the file may
 * be shorter, or longer with nothing but zeros there.
 *
 * A change of a file's length is there or not.
 *
 * A state belongs to the newest change of which at least a sector is there, so none comes twice.
 */
import { GuestModel } from './guest-model.js';
import { loadFiles, memoryFiles, type HostEvent, type MemoryFile } from './memory-host.js';
import type { Random } from './random.js';
import type { Trace, TraceEvent } from './workload.js';

const SECTOR = 512;

type Change = Extract<HostEvent, { kind: 'change' | 'length' }>;

/** Where in the trace the power was cut, as far as it matters for what may be there. */
export interface CrashPoint {
  readonly model: GuestModel;
  /** The guest has begun to close the image, and nothing since. */
  readonly isClosing: boolean;
  /** The guest was just told that everything is durable. */
  readonly isFlushed: boolean;
  /** Whether anything was written since the image was opened. */
  readonly isWritten: boolean;
}

/** How many states are tried at each change. */
export interface ReplayPlan {
  /** Where there are at most so many states, all of them. */
  readonly exhaustive: number;
  /** So many at random otherwise. */
  readonly samples: number;
}

/** Who looks at the states. */
export interface ReplayListener {
  /** Whether no more states are wanted. */
  isDone(): boolean;
  /** The guest opens the image; the files in memory are as they are then. */
  opened(): void;
  /** A state, which is that of the files in memory. */
  state(point: CrashPoint, describe: () => string): void;
}

/** Which sectors of each pending change are there, in the order of the changes. */
type Selection = readonly (readonly boolean[])[];

/** Tries the states of a trace. */
export function replay(
  trace: Trace,
  plan: ReplayPlan,
  random: Random,
  listener: ReplayListener,
): void {
  loadFiles(trace.disk.files);
  const current = new Map(memoryFiles().map((file) => [file.path, file]));
  new Replay(trace, plan, random, current, listener).run();
}

class Replay {
  readonly #trace: Trace;
  readonly #plan: ReplayPlan;
  readonly #random: Random;
  readonly #files: ReadonlyMap<string, MemoryFile>;
  readonly #listener: ReplayListener;
  #pending: Change[] = [];
  #point: CrashPoint;

  constructor(
    trace: Trace,
    plan: ReplayPlan,
    random: Random,
    files: ReadonlyMap<string, MemoryFile>,
    listener: ReplayListener,
  ) {
    this.#trace = trace;
    this.#plan = plan;
    this.#random = random;
    this.#files = files;
    this.#listener = listener;
    const model = new GuestModel(trace.disk.content);
    this.#point = { model, isClosing: false, isFlushed: false, isWritten: false };
  }

  run(): void {
    this.#trace.events.forEach((event, index) => {
      this.#take(event);
      const { kind } = event;
      if (kind === 'change' || kind === 'length') this.#tryStates(index, true);
      if (kind === 'flushed' || kind === 'closed') this.#tryStates(index, false);
    });
  }

  #take(event: TraceEvent): void {
    const point = { ...this.#point, isFlushed: false };
    switch (event.kind) {
      case 'change':
      case 'length':
        this.#pending.push(event);
        break;
      case 'barrier':
        this.#settle(event.file.path);
        break;
      case 'opened':
        this.#listener.opened();
        point.isWritten = false;
        point.isClosing = false;
        break;
      case 'guest':
        point.model.changed(event);
        // What a host without room refused may have left everything as it was.
        if (event.isRefused !== true) point.isWritten = true;
        break;
      case 'closing':
        point.isClosing = true;
        break;
      case 'flushed':
      case 'closed':
        point.model.flushed();
        point.isFlushed = true;
        break;
    }
    this.#point = point;
  }

  /** A barrier: what was changed in the file is there from now on. */
  #settle(path: string): void {
    for (const change of this.#pending) {
      if (change.file.path === path) this.#apply(change, undefined);
    }
    this.#pending = this.#pending.filter(({ file }) => file.path !== path);
  }

  /** @param withNewest whether at least a sector of the last change has to be there */
  #tryStates(index: number, withNewest: boolean): void {
    const sizes = this.#pending.map(sectorsOf);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const selections =
      total < 24 && 2 ** total <= this.#plan.exhaustive
        ? allSelections(sizes, total)
        : this.#sample(sizes);
    for (const selection of selections) {
      if (withNewest && selection.at(-1)?.includes(true) !== true) continue;
      if (this.#listener.isDone()) return;
      for (const share of this.#lengthShares(selection)) this.#try(index, selection, share);
    }
  }

  *#sample(sizes: readonly number[]): Generator<Selection> {
    const random = this.#random;
    for (let count = 0; count < this.#plan.samples; count++) {
      const density = random.pick([0.1, 0.5, 0.9]);
      const tearing = random.pick([0, 0.2, 0.7]);
      yield sizes.map((size, index) => {
        // The last one has to be there at least in part.
        const share = index === sizes.length - 1 ? 1 : density;
        if (!random.chance(tearing)) return Array<boolean>(size).fill(random.chance(share));
        const torn = tornSectors(random, size, density);
        if (share === 1) torn[random.below(size)] = true;
        return torn;
      });
    }
  }

  /** How much of the length that no sector vouches for the files have. */
  #lengthShares(selection: Selection): readonly number[] {
    const isLonger = this.#pending.some(
      (change, index) =>
        endOf(change) > this.#current(change.file.path).length && selection[index]?.includes(false),
    );
    if (!isLonger) return [0];
    if (2 ** selection.flat().length <= this.#plan.exhaustive) return [0, 1];
    return [this.#random.pick([0, 0, 1, 0.5])];
  }

  #current(path: string): MemoryFile {
    const file = this.#files.get(path);
    if (file === undefined) throw new Error(`${path} was not there at the start`);
    return file;
  }

  #try(index: number, selection: Selection, share: number): void {
    for (const file of this.#files.values()) file.mark();
    try {
      this.#pending.forEach((change, number) => {
        this.#apply(change, selection[number]);
      });
      if (share > 0) this.#lengthen(share);
      this.#listener.state(this.#point, () => this.#describe(index, selection, share));
    } finally {
      for (const file of this.#files.values()) file.rewind();
    }
  }

  /** Makes the change, or those sectors of it that are chosen. */
  #apply(change: Change, chosen: readonly boolean[] | undefined): void {
    const file = this.#current(change.file.path);
    if (change.kind === 'length') {
      if (chosen?.includes(false) !== true) file.setLength(change.length);
      return;
    }
    const { bytes, length, position } = change;
    const apply = (from: number, to: number): void => {
      if (bytes === undefined) file.punch(from, to - from);
      else file.write(bytes.subarray(from - position, to - position), from);
    };
    if (chosen?.includes(false) !== true) {
      apply(position, position + length);
      return;
    }
    const first = Math.floor(position / SECTOR);
    chosen.forEach((isThere, index) => {
      if (!isThere) return;
      const start = Math.max(position, (first + index) * SECTOR);
      apply(start, Math.min(position + length, (first + index + 1) * SECTOR));
    });
  }

  #lengthen(share: number): void {
    for (const change of this.#pending) {
      const current = this.#current(change.file.path);
      const missing = endOf(change) - current.length;
      if (missing > 0) current.setLength(current.length + Math.ceil(missing * share));
    }
  }

  #describe(index: number, selection: Selection, share: number): string {
    const lines = this.#pending.map((change, number) => {
      const chosen = selection[number] ?? [];
      const marks = chosen.map((isThere) => (isThere ? '+' : '-')).join('');
      if (change.kind === 'length') return `  length ${change.file.path} ${change.length} ${marks}`;
      const { bytes, file, length, position } = change;
      const what = bytes === undefined ? 'hole' : 'write';
      return `  ${what} ${file.path} ${position}+${length} ${marks}`;
    });
    const events = this.#trace.events.length;
    return [`event ${index} of ${events}, length share ${share}:`, ...lines].join('\n');
  }
}

/** Where the bytes end that a change writes; 0 where it writes none. */
function endOf(change: Change): number {
  if (change.kind === 'length' || change.bytes === undefined) return 0;
  return change.position + change.length;
}

function sectorsOf(change: Change): number {
  if (change.kind === 'length') return 1;
  const { length, position } = change;
  return Math.ceil((position + length) / SECTOR) - Math.floor(position / SECTOR);
}

function* allSelections(sizes: readonly number[], total: number): Generator<Selection> {
  for (let mask = 0; mask < 2 ** total; mask++) {
    let bit = 0;
    yield sizes.map((size) =>
      Array.from({ length: size }, () => {
        bit += 1;
        return ((mask >>> (bit - 1)) & 1) === 1;
      }),
    );
  }
}

/** The beginning, the end, or any sectors of a change. */
function tornSectors(random: Random, size: number, density: number): boolean[] {
  const cut = random.below(size + 1);
  const way = random.below(3);
  return Array.from({ length: size }, (_, index) => {
    if (way === 0) return index < cut;
    return way === 1 ? index >= cut : random.chance(density);
  });
}
