/**
 * The log: one line at a time to descriptor 2 with a synchronous write, so that it works from any
 * thread and also while the process is ending. Debug lines (`DEBUG=vmdkfs:*`, `-d`) go the same way.
 */
import { writeSync } from 'node:fs';
import { format } from 'node:util';
import debug from 'debug';

/** Writes a line for the user. */
export function log(message: string): void {
  writeLine(`vmdkfs: ${message}`);
}

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
  try {
    writeSync(2, `${line}\n`);
  } catch {
    // Nobody reads the log any more; the mount goes on.
  }
}
