/**
 * The signals that end a mount. They are caught from before the kernel mounts: one that comes while
 * the mount is being made is acted on when it is there, instead of ending a server somebody uses.
 */

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class Signals {
  #handle: ((signal: string) => void) | undefined;
  readonly #waiting: string[] = [];

  /** Starts catching. */
  constructor() {
    for (const signal of ENDING) {
      process.on(signal, () => {
        if (this.#handle === undefined) this.#waiting.push(signal);
        else this.#handle(signal);
      });
    }
    // A write past RLIMIT_FSIZE is to fail with EFBIG, not to kill the server.
    process.on('SIGXFSZ', () => undefined);
  }

  /** Hands every signal to `handle`, those first that came already. */
  handleWith(handle: (signal: string) => void): void {
    this.#handle = handle;
    for (const signal of this.#waiting.splice(0)) handle(signal);
  }

  /** Lets the signals do what they do by themselves: there is no mount. */
  release(): void {
    for (const signal of ENDING) process.removeAllListeners(signal);
    for (const signal of this.#waiting.splice(0)) process.kill(process.pid, signal);
  }
}
