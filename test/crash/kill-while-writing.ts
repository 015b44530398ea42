import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import type { Foreground } from '../helpers/foreground.js';

/**
 * Starts a writer, a Node program with its arguments, on the disk of `server`, and kills the server
 * `wait` ms after the writer's first line; settles when both have ended.
 *
 * @param take gets each line of the writer, and says whether it is one of progress; before the kill
 *   nothing else may come
 */
export async function killWhileWriting(
  server: Foreground,
  writerArgs: readonly string[],
  wait: number,
  take: (line: string) => boolean,
): Promise<void> {
  const writer = spawn(process.execPath, writerArgs, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    writer.kill('SIGKILL');
  });
  const ended = new Promise((resolve) => writer.once('close', resolve));
  let isKilled = false;
  let failure = '';
  const started = new Promise<void>((resolve) => {
    createInterface(writer.stdout).on('line', (line) => {
      if (!take(line) && !isKilled) failure = line;
      resolve();
    });
  });
  await Promise.race([started, ended]);
  await sleep(wait);
  isKilled = true;
  server.child.kill('SIGKILL');
  expect(await server.ended).toBe('SIGKILL');
  await ended;
  expect(failure).toBe('');
}
