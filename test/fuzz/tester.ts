/** Tries cases in a process of their own, which ends with the first that hangs or kills it. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { FuzzCase } from './cases.js';
import type { Use } from './use-image.js';
import type { Answer } from './worker.js';

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

/** Processor time and memory that a case may take; these images are tiny. */
const MILLISECONDS_MAX = 5000;
const MEMORY_MAX = 512 * 1024 * 1024;

/** Time after which a case hangs: others may need the processor too. */
const HANG_MILLISECONDS = 12 * MILLISECONDS_MAX;

/** What came of a case: how it went, or what is wrong with it. */
export interface Verdict {
  readonly use: Use | undefined;
  readonly finding: string | undefined;
  readonly milliseconds: number;
  readonly memory: number;
}

/** A process that tries one case after another. */
export class Tester {
  readonly folder: string;
  #child: ChildProcess | undefined;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  async try(fuzzed: FuzzCase): Promise<Verdict> {
    this.#child ??= await this.#start();
    const child = this.#child;
    const answer = await ask(child, fuzzed);
    if (typeof answer === 'string') {
      this.#child = undefined;
      child.kill('SIGKILL');
      return { use: undefined, finding: answer, milliseconds: HANG_MILLISECONDS, memory: 0 };
    }
    const { memory, milliseconds } = answer;
    const use = answer.kind === 'fine' ? answer.use : undefined;
    return { use, finding: findingOf(answer), milliseconds, memory };
  }

  /** Ends the process; the next case begins with a fresh one. */
  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  async #start(): Promise<ChildProcess> {
    const execArgv = ['--max-old-space-size=512'];
    const child = fork(WORKER, [this.folder], { execArgv, serialization: 'advanced' });
    // Whoever waits for its answer learns that it ended from `exit`.
    child.on('error', () => undefined);
    await once(child, 'message');
    return child;
  }
}

function findingOf(answer: Answer): string | undefined {
  if (answer.kind === 'finding') return answer.message;
  const { memory, milliseconds } = answer;
  if (milliseconds > MILLISECONDS_MAX)
    return `took ${Math.round(milliseconds)} ms of processor time`;
  if (memory > MEMORY_MAX) return `took ${Math.round(memory / 2 ** 20)} MiB of memory`;
  return undefined;
}

/** The answer, or in words why there is none. */
async function ask(child: ChildProcess, fuzzed: FuzzCase): Promise<Answer | string> {
  return new Promise((resolve) => {
    const finish = (result: Answer | string): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      resolve(result);
    };
    const onMessage = (answer: Answer): void => {
      finish(answer);
    };
    const onExit = (code: number | null, signal: string | null): void => {
      finish(`the process ended with ${code ?? signal ?? 'nothing'}`);
    };
    const timer = setTimeout(() => {
      finish(`no end after ${HANG_MILLISECONDS} ms`);
    }, HANG_MILLISECONDS);
    child.on('message', onMessage);
    child.on('exit', onExit);
    child.send(fuzzed);
  });
}
