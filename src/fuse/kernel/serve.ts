/**
 * The loop of a thread that serves a connection: wait for a request, serve it, reply. Several
 * threads run it on one connection; the kernel gives each request to one of them.
 */
import { Errno } from '../../errno.js';
import { DISCONNECTED, type FuseDevice } from '../../os/fuse-device.js';
import type { BusyWait } from './busy-wait.js';
import type { Exchange } from './exchange.js';

/**
 * Serves the connection until it ends.
 *
 * @param busyWait undefined where a thread that looks for requests would be in the way of others
 * @throws the system's error where requests cannot be read any more; none of them is lost by that
 */
export function serveConnection(
  device: FuseDevice,
  exchange: Exchange,
  busyWait: BusyWait | undefined,
): void {
  for (;;) {
    busyWait?.wait();
    const length = device.receive(exchange.request);
    if (length === DISCONNECTED) return;
    const reply = exchange.handle(length);
    if (reply !== 0) sendReply(device, exchange, reply);
  }
}

/** Sends the reply of `length` bytes that is in the exchange. */
export function sendReply(
  device: Pick<FuseDevice, 'send'>,
  exchange: Exchange,
  length: number,
): void {
  const refused = device.send(exchange.reply, length);
  if (refused === 0) return;
  exchange.dropped();
  if (refused === Errno.ENOENT) return;
  // A refused reply may leave its request waiting for ever.
  exchange.settings.log(`the kernel refused a reply of ${length} bytes with errno ${refused}`);
  device.send(exchange.reply, exchange.finish(-Errno.EIO));
}
