/** Telling systemd, or whoever else speaks sd_notify(3), how a server in the foreground is. */
import { describeError } from '../errno.js';
import { sendDatagram } from '../os/unix-datagram.js';
import { log } from './log.js';

const VARIABLE = 'NOTIFY_SOCKET';

/** Sends `state` (`READY=1` and the like) where somebody asked for it. */
export function notifyServiceManager(...state: readonly string[]): void {
  const socket = process.env[VARIABLE];
  if (socket === undefined || socket === '') return;
  try {
    if (!/^[/@]/.test(socket)) throw new Error(`${socket}: is neither a path nor an abstract name`);
    sendDatagram(socket, state.join('\n'), true);
  } catch (error) {
    log(`${VARIABLE}: ${describeError(error)}`);
  }
}

/** Says nothing from now on: who waits for a service does not wait for a server in the background. */
export function forgetServiceManager(): void {
  Reflect.deleteProperty(process.env, VARIABLE);
}
