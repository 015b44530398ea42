/**
 * OPENs that wait for the close of another file. Threads that serve hand them over and go on: a
 * thread that waited itself might be the one that the close needs. They are asked again every few
 * milliseconds, until they get an answer.
 */
import type { FileSystem } from '../file-system.js';
import type { FuseDevice } from '../../os/fuse-device.js';
import { Exchange, type ExchangeSettings } from './exchange.js';
import { sendReply } from './serve.js';

const RETRY_MS = 5;

interface WaitingOpen {
  readonly request: Uint8Array;
  /** By `performance.now`. */
  readonly since: number;
}

export class WaitingOpens {
  readonly #device: FuseDevice;
  readonly #makeExchange: () => Exchange;
  #exchange: Exchange | undefined;
  #opens: WaitingOpen[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /**
   * @param newFileSystem makes that of this thread, when it is needed; only `open` and `undoOpen`
   *   are called
   */
  constructor(
    device: FuseDevice,
    newFileSystem: () => FileSystem,
    settings: Omit<ExchangeSettings, 'postpone'>,
  ) {
    this.#device = device;
    // Most mounts never need it, and it has buffers for the largest requests.
    this.#makeExchange = () =>
      new Exchange(newFileSystem(), { ...settings, postpone: () => undefined });
  }

  /** Takes a whole request. */
  add(request: Uint8Array): void {
    this.#opens.push({ request, since: performance.now() });
    this.#arm();
  }

  /** The connection has ended: nobody waits any more. */
  stop(): void {
    this.#isStopped = true;
    this.#opens = [];
    clearTimeout(this.#timer);
  }

  #arm(): void {
    if (this.#isStopped || this.#opens.length === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#opens = this.#opens.filter((open) => !this.#isAnswered(open));
      this.#arm();
    }, RETRY_MS);
  }

  #isAnswered({ request, since }: WaitingOpen): boolean {
    const exchange = (this.#exchange ??= this.#makeExchange());
    exchange.request.set(request);
    exchange.waited = performance.now() - since;
    const reply = exchange.handle(request.length);
    if (reply === 0) return false;
    sendReply(this.#device, exchange, reply);
    return true;
  }
}
