/** Workloads on one disk, cut off in every way: how many states were tried, and what was wrong. */
import { checkState, sessionStart } from './check-state.js';
import type { TinyDisk } from './tiny-disks.js';
import { memoryFiles } from './memory-host.js';
import { Random } from './random.js';
import { replay, type ReplayPlan } from './replay.js';
import { runWorkload, type Trace, type WorkloadPlan } from './workload.js';

/** Short workloads in all their states, and long ones in some. */
const SHORT: WorkloadPlan & ReplayPlan = { steps: 3, reach: 2, exhaustive: 1024, samples: 20 };
const LONG: WorkloadPlan & ReplayPlan = { steps: 16, reach: 12, exhaustive: 64, samples: 8 };

/** Share of the states from which a disk is used on and crashes again; at most so many of a trace. */
const AGAIN = 0.02;
const AGAIN_MAX = 2;

export interface CrashCounts {
  readonly states: number;
  /** Of these, such as a second crash left. */
  readonly statesAgain: number;
  /** What was wrong, with how to come there again; the first few. */
  readonly violations: readonly string[];
  readonly violationCount: number;
}

/** What is done besides. */
export interface CrashOptions {
  /** What becomes of each trace before it is replayed. */
  readonly change?: (trace: Trace) => Trace;
  /** Called in some of the states, with the files in memory. */
  readonly sample?: () => void;
  /** Whether to end with the first violation. */
  readonly untilWrong?: boolean;
}

const SAMPLE_EVERY = 97;

export class CrashRun {
  readonly #options: CrashOptions;
  readonly #violations: string[] = [];
  #states = 0;
  #statesAgain = 0;
  #wanted = 0;
  #violationCount = 0;

  constructor(options: CrashOptions = {}) {
    this.#options = options;
  }

  get counts(): CrashCounts {
    const violations = this.#violations.slice(0, 3);
    return {
      states: this.#states,
      statesAgain: this.#statesAgain,
      violations,
      violationCount: this.#violationCount,
    };
  }

  /** Runs workloads on `disk`, from seed 1 on, until so many states were tried. */
  run(disk: TinyDisk, states: number): void {
    this.#wanted = this.#states + states;
    for (let seed = 1; !this.#isDone(); seed++) {
      const random = new Random(seed);
      const plan = seed % 3 === 0 ? LONG : SHORT;
      for (const again of this.#crash(disk, random, plan, `seed ${seed}`)) {
        const before = this.#states;
        this.#crash(again, random, LONG, `seed ${seed}, after a crash`);
        this.#statesAgain += this.#states - before;
      }
    }
  }

  #isDone(): boolean {
    if (this.#options.untilWrong === true && this.#violationCount > 0) return true;
    return this.#states >= this.#wanted;
  }

  /** @returns disks as some of the crashes left them */
  #crash(
    disk: TinyDisk,
    random: Random,
    plan: WorkloadPlan & ReplayPlan,
    name: string,
  ): TinyDisk[] {
    const trace = runWorkload(disk, random, plan);
    const { change, sample } = this.#options;
    const left: TinyDisk[] = [];
    let start = sessionStart(disk);
    replay(change === undefined ? trace : change(trace), plan, random, {
      isDone: () => this.#isDone(),
      opened: () => {
        start = sessionStart(disk);
      },
      state: (point, describe) => {
        this.#states += 1;
        if (this.#states % SAMPLE_EVERY === 0) sample?.();
        const isUsedOn = left.length < AGAIN_MAX && random.chance(AGAIN);
        const files = isUsedOn ? copyFiles() : undefined;
        const problems = checkState(disk, point, start, random, (content) => {
          if (files !== undefined) left.push({ ...disk, files, content });
        });
        if (problems.length === 0) return;
        this.#violationCount += 1;
        if (this.#violations.length < 3) {
          this.#violations.push([`${disk.name}, ${name}, ${describe()}`, ...problems].join('\n'));
        }
      },
    });
    return left;
  }
}

function copyFiles(): Map<string, Buffer> {
  return new Map(
    memoryFiles().map(({ content, path }) => [
      path.split('/').at(-1) ?? path,
      Buffer.from(content),
    ]),
  );
}
