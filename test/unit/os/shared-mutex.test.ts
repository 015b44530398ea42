import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { threadId, Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MUTEX_WORDS, SharedMutex } from '../../../src/os/shared-mutex.js';

const BUILT = new URL('../../../dist/os/shared-mutex.js', import.meta.url).href;

/** Runs `body` in a thread with `words`, a `mutex` over its first two words, and `rounds`. */
function startThread(body: string, words: Int32Array, rounds: number): Worker {
  const code = `
    const { workerData } = require('node:worker_threads');
    import(workerData.module).then(({ SharedMutex }) => {
      const { words, rounds } = workerData;
      const mutex = new SharedMutex(words, 0);
      ${body}
    });`;
  const worker = new Worker(code, { eval: true, workerData: { module: BUILT, words, rounds } });
  // A thread that waits for ever must not outlive a test that failed.
  onTestFinished(async () => {
    await worker.terminate();
  });
  return worker;
}

async function endOf(worker: Worker): Promise<void> {
  expect(await once(worker, 'exit')).toEqual([0]);
}

async function becomes(words: Int32Array, index: number, value: number): Promise<void> {
  while (Atomics.load(words, index) !== value) await delay(1);
}

describe('SharedMutex', () => {
  test('names its owner in its first word, and is 0 when free', () => {
    const words = new Int32Array(new SharedArrayBuffer(16));
    words.set([7, 0, 0, 7]);
    const mutex = new SharedMutex(words, 1);
    expect(MUTEX_WORDS).toBe(2);
    mutex.lock();
    expect([...words]).toEqual([7, threadId + 1, 0, 7]);
    mutex.unlock();
    expect([...words]).toEqual([7, 0, 0, 7]);
    mutex.lock();
    expect([...words]).toEqual([7, threadId + 1, 0, 7]);
  });

  test('makes another thread wait, counts it, and wakes it', async () => {
    const words = new Int32Array(new SharedArrayBuffer(16));
    const mutex = new SharedMutex(words, 0);
    mutex.lock();
    const body = 'mutex.lock(); words[2] = words[0]; mutex.unlock(); words[3] = 1;';
    const worker = startThread(body, words, 1);
    const ended = endOf(worker);
    const otherThread = worker.threadId;
    await becomes(words, 1, 1);
    await delay(20);
    expect([...words]).toEqual([threadId + 1, 1, 0, 0]);
    mutex.unlock();
    await ended;
    expect([...words]).toEqual([0, 0, otherThread + 1, 1]);
  });

  test('lets one thread in at a time', async () => {
    const THREADS = 4;
    const ROUNDS = 5000;
    const words = new Int32Array(new SharedArrayBuffer(16));
    // An increment in two steps with work between them: without the mutex nearly all get lost.
    const body = `
      for (let round = 0; round < rounds; round++) {
        mutex.lock();
        try {
          const before = words[2];
          for (let spin = 0; spin < 20; spin++) Atomics.load(words, 3);
          words[2] = before + 1;
        } finally {
          mutex.unlock();
        }
      }`;
    const threads = Array.from({ length: THREADS }, () => startThread(body, words, ROUNDS));
    await Promise.all(threads.map(endOf));
    expect([...words]).toEqual([0, 0, THREADS * ROUNDS, 0]);
  });

  test('keeps two mutexes in the same memory apart', () => {
    const words = new Int32Array(new SharedArrayBuffer(16));
    const [first, second] = [new SharedMutex(words, 0), new SharedMutex(words, MUTEX_WORDS)];
    first.lock();
    second.lock();
    expect([...words]).toEqual([threadId + 1, 0, threadId + 1, 0]);
    first.unlock();
    expect([...words]).toEqual([0, 0, threadId + 1, 0]);
  });
});
