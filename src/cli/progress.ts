/** A line that says how far something long has come: on a terminal only, and only past a second. */
import { isatty } from 'node:tty';
import { complainText } from './output.js';

const STDERR_FD = 2;
const SILENT_MS = 1000;
const STEP_MS = 200;

export class Progress {
  readonly #isShown: boolean;
  #next = performance.now() + SILENT_MS;
  #hasLine = false;

  constructor(isQuiet = false) {
    this.#isShown = !isQuiet && isatty(STDERR_FD);
  }

  /** Shows that `share` of `what` is done, from 0 to 1; not more often than the eye can follow. */
  show(what: string, share: number): void {
    const now = performance.now();
    if (!this.#isShown || now < this.#next) return;
    this.#next = now + STEP_MS;
    this.#hasLine = true;
    complainText(`\r\x1b[K${what}: ${Math.floor(share * 100)} %`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#hasLine) complainText('\r\x1b[K');
    this.#hasLine = false;
  }
}
