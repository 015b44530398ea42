/**
 * The log: one line at a time to descriptor 2 with a synchronous write, so that it works from any
 * thread and also while the process is ending. Debug lines (`DEBUG=vmdkfs:*`, `-d`) go the same way.
 *
 * Descriptor 2 is the caller's terminal at first. Later it may be a file, where lines have a time;
 * a file that nobody named is small, and the system's log gets the lines as well. All threads
 * share a word that says which of these it is.
 */
import { closeSync, constants, writeSync } from 'node:fs';
import { format } from 'node:util';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import debug from 'debug';
import { openSync } from '../os/host-fs.js';
import { openLinked } from '../os/linked-file.js';
import { sendDatagram } from '../os/unix-datagram.js';

/** What descriptor 2 is. */
const TERMINAL = 0;
const NAMED_FILE = 1;
const KEPT_FILE = 2;

/** Words of the shared memory: what descriptor 2 is, and bytes written to a kept file. */
const PLACE = 0;
const WRITTEN = 1;

const KEPT_BYTES_MAX = 256 * 1024;

const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT;

/** Where syslog(3) sends its datagrams; the journal listens there too. */
const SYSTEM_LOG = '/dev/log';

/** Facility daemon, severity warning (RFC 3164). */
const PRIORITY = 3 * 8 + 4;

const shared = sharedWords();

function sharedWords(): Int32Array {
  const key = 'vmdkfs log';
  let memory = getEnvironmentData(key);
  if (!(memory instanceof SharedArrayBuffer)) {
    memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
    // Threads that are started from here on find it.
    setEnvironmentData(key, memory);
  }
  return new Int32Array(memory as SharedArrayBuffer);
}

/** Writes a line for the user. */
export function log(message: string): void {
  const place = Atomics.load(shared, PLACE);
  if (place === TERMINAL) {
    writeLine(`vmdkfs: ${message}`);
    return;
  }
  writeLine(`${new Date().toISOString()} vmdkfs[${process.pid}]: ${message}`);
  if (place === KEPT_FILE) sendToSystem(message);
}

/**
 * Lets go of what descriptor 2 is and appends to `file` from now on.
 *
 * @param isNamed whether the user has named the file
 * @throws where it cannot be opened; what is logged then reaches the system's log only
 */
export function logTo(file: string, isNamed: boolean): void {
  closeSync(2);
  // The lowest free descriptor is the one just closed.
  try {
    if (isNamed) openLog(file);
    else openSync(file, APPEND | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    openSync('/dev/null', 'w');
    Atomics.store(shared, PLACE, KEPT_FILE);
    throw error;
  }
  Atomics.store(shared, PLACE, isNamed ? NAMED_FILE : KEPT_FILE);
}

/**
 * Opens a log that the user has named, which is made where there is none.
 *
 * @throws ELOOP for a link of another user; the system's error
 */
export function openLog(file: string): number {
  return openLinked(file, APPEND, 0o644);
}

debug.formatArgs = function formatArgs(args: unknown[]): void {
  args[0] = `${new Date().toISOString()} ${this.namespace} ${String(args[0])}`;
};

debug.log = (...args: unknown[]): void => {
  writeLine(format(...args));
};

/** A debug logger for one area. */
export function debugLog(area: string): debug.Debugger {
  return debug(`vmdkfs:${area}`);
}

/** Turns all debug lines on. */
export function enableDebug(): void {
  debug.enable('vmdkfs:*');
}

function writeLine(line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  if (Atomics.load(shared, PLACE) === KEPT_FILE) {
    if (Atomics.add(shared, WRITTEN, bytes.length) > KEPT_BYTES_MAX) return;
  }
  try {
    writeSync(2, bytes);
  } catch {
    // Nobody reads the log any more; the mount goes on.
  }
}

function sendToSystem(message: string): void {
  try {
    sendDatagram(SYSTEM_LOG, `<${PRIORITY}>vmdkfs[${process.pid}]: ${message}`, false);
  } catch {
    // Nobody listens there.
  }
}
