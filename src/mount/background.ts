/**
 * Serving in the background. Node cannot fork, so the command starts a server process and stays
 * until that says over a pipe that the mount answers, or why it does not. The server then keeps
 * nothing of its caller: no terminal, no descriptors, no folder.
 */
import { describeError } from '../errno.js';
import { explainedError } from '../image/recognise/explained-error.js';
import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { Readable } from 'node:stream';
import { closeInheritedDescriptors } from '../os/inherited-descriptors.js';
import { becomeIoFlusher } from '../os/io-flusher.js';
import { libcIfAny } from '../os/libc.js';
import { leaveTerminal } from './last-words.js';
import { log } from './log.js';
import { MountError } from './mount-error.js';
import type { MountRequest } from './mount-request.js';
import { forgetServiceManager } from './service-manager.js';
import { serve } from './session.js';
import { dieOf, isEndingSignal, Signals } from './signals.js';

/** The pipe on which the server says how mounting went. */
const READY_FD = 3;

/**
 * A flag of Node for the server, whose main thread does little once the image is open: what opening
 * has left behind would stay there as long as the mount does, 6 MiB and more.
 */
const SMALL_YOUNG_GENERATION = '--max-semi-space-size=1';

/** What the server says, once, as JSON. */
interface Answer {
  readonly failure?: { readonly message: string; readonly exitCode: number };
  readonly notices?: readonly string[];
}

/** How mounting went: exit code, and lines for the user's terminal. */
export interface BackgroundResult {
  readonly exitCode: number;
  readonly lines: readonly string[];
}

/**
 * Starts a server for `request`; settles when the mount answers or has failed.
 *
 * @param program the file of the server process, which calls `runServer`
 * @throws MountError when the server ends without a word
 */
export async function serveInBackground(
  request: MountRequest,
  program: string,
): Promise<BackgroundResult> {
  // Threads that Node starts before any line of ours runs in the server have it by inheritance only.
  // Where there is no C library the server says so, where it matters.
  if (libcIfAny() !== undefined) becomeIoFlusher();
  const args = [SMALL_YOUNG_GENERATION, program, JSON.stringify(request)];
  const child = spawn(process.execPath, args, {
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => {
      resolve(describeError(error));
    });
    child.once('exit', (code, signal) => {
      resolve(signal ?? `exit code ${code ?? 'unknown'}`);
    });
  });
  const signals = new Signals();
  // Whoever ends the command while it waits ends the start, and that takes the mount back.
  void signals.first.then((signal) => child.kill(signal));
  const [said, complaints] = await Promise.all([
    readAll(child.stdio[READY_FD] as Readable),
    readAll(child.stderr),
  ]);
  signals.release();
  const lines = complaints.split('\n').filter((line) => line !== '');
  if (said === '') {
    const end = await exited;
    if (isEndingSignal(end)) dieOf(end);
    throw new MountError([`the server died (${end})`, ...lines].join('\n'));
  }
  child.unref();
  const answer = JSON.parse(said) as Answer;
  for (const notice of answer.notices ?? []) lines.push(`vmdkfs: ${notice}`);
  if (answer.failure === undefined) return { exitCode: 0, lines };
  return {
    exitCode: answer.failure.exitCode,
    lines: [`vmdkfs: ${answer.failure.message}`, ...lines],
  };
}

/** The text of a pipe until its other end closes it. */
async function readAll(stream: Readable | null): Promise<string> {
  let text = '';
  if (stream === null) return text;
  stream.setEncoding('utf8');
  for await (const chunk of stream) text += chunk as string;
  return text;
}

/** The server process: serves the request it was started with. */
export async function runServer(
  argument: string,
  exitCodeOf: (error: unknown) => number,
): Promise<void> {
  closeInheritedDescriptors(READY_FD);
  forgetServiceManager();
  const request = JSON.parse(argument) as MountRequest;
  process.title = `vmdkfs ${request.image} ${request.mountpoint}`;
  const progress = { isReady: false };
  try {
    await serve(request, ({ mountpoint, notices }) => {
      progress.isReady = true;
      writeSync(READY_FD, JSON.stringify({ notices } satisfies Answer));
      // From here on the caller's terminal is not ours.
      leaveTerminal(mountpoint, request.log);
      closeSync(READY_FD);
    });
  } catch (error) {
    const message = describeError(explainedError(error));
    process.exitCode = exitCodeOf(error);
    if (progress.isReady) {
      log(`ended: ${message}`);
    } else {
      const failure = { message, exitCode: process.exitCode };
      writeSync(READY_FD, JSON.stringify({ failure } satisfies Answer));
    }
  }
}
