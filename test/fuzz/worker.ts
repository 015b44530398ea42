/**
 * The process in which images are opened: it may be killed, run out of memory or crash. It is given
 * a folder, makes the files of each case there, and answers with what came of it.
 */
import { mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { libc } from '../../src/os/libc.js';
import type { FuzzCase } from './cases.js';
import { watchMemory, watchOpens } from './guards.js';
import { makeImage } from './make-image.js';
import { makeSeeds } from './seeds.js';
import { useImage, type Use } from './use-image.js';

/** What the process answers; bytes and milliseconds of processor time. */
export type Answer = { readonly milliseconds: number; readonly memory: number } & (
  | { readonly kind: 'fine'; readonly use: Use }
  | { readonly kind: 'finding'; readonly message: string }
);

const root = realpathSync(process.argv[2] ?? '.');
const seeds = makeSeeds();
const folder = join(root, 'image');
const outside = join(root, 'outside');
mkdirSync(outside, { recursive: true });
writeFileSync(join(outside, 'secret.raw'), Buffer.alloc(2 ** 21, 0x73));
writeFileSync(join(outside, 'secret.vmdk'), '# Disk DescriptorFile\nRW 8 ZERO\n');
libc();
watchOpens();

process.on('message', (fuzzed: FuzzCase) => {
  process.send?.(answerTo(fuzzed));
});
process.on('disconnect', () => {
  process.exit(0);
});
process.send?.('ready');

function answerTo(fuzzed: FuzzCase): Answer {
  rmSync(folder, { recursive: true, force: true });
  const place = makeImage(folder, fuzzed, seeds);
  const memory = watchMemory();
  const start = process.cpuUsage();
  const taken = (): { milliseconds: number; memory: number } => {
    const { system, user } = process.cpuUsage(start);
    return { milliseconds: (system + user) / 1000, memory: memory() };
  };
  try {
    const use = useImage(place, fuzzed);
    return { kind: 'fine', use, ...taken() };
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: 'finding', message, ...taken() };
  }
}
