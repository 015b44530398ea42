/**
 * The signals that end a mount. They are caught from before the kernel mounts: one that comes while
 * the mount is being made is acted on when it is there, instead of ending a server somebody uses, and
 * ends a start that hangs.
 */
import { pause } from '../os/pause.js';

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export type EndingSignal = (typeof ENDING)[number];

/** Whether `name` is that of a signal which ends a mount. */
export function isEndingSignal(name: string): name is EndingSignal {
  return (ENDING as readonly string[]).includes(name);
}

/** How long a signal may take that ends this process, milliseconds. */
const DEATH_MS = 1000;

export class Signals {
  #handle: ((signal: EndingSignal) => void) | undefined;
  readonly #waiting: EndingSignal[] = [];
  /** Settles with the first signal. */
  readonly first: Promise<EndingSignal>;

  /** Starts catching. */
  constructor() {
    this.first = new Promise((resolve) => {
      for (const signal of ENDING) {
        process.on(signal, () => {
          resolve(signal);
          if (this.#handle === undefined) this.#waiting.push(signal);
          else this.#handle(signal);
        });
      }
    });
    // A write past RLIMIT_FSIZE is to fail with EFBIG, not to kill the server.
    process.on('SIGXFSZ', () => undefined);
  }

  /** Hands every signal to `handle`, those first that came already. */
  handleWith(handle: (signal: EndingSignal) => void): void {
    this.#handle = handle;
    for (const signal of this.#waiting.splice(0)) handle(signal);
  }

  /** Lets the signals do what they do by themselves: there is no mount. */
  release(): void {
    for (const signal of ENDING) process.removeAllListeners(signal);
  }
}

/** Ends this process by `signal`, which nobody catches any more. */
export function dieOf(signal: EndingSignal): void {
  process.kill(process.pid, signal);
  // It may reach another thread, and that a moment later.
  pause(DEATH_MS);
}
