/** What tests have in common that cut a command off while it changes a disk in memory. */
import { recordHost, type HostEvent } from './memory-host.js';
import { Random } from './random.js';
import { replay, type ReplayPlan } from './replay.js';
import type { TinyDisk } from './tiny-disks.js';

/** What `change` does to the files in memory, in its order. */
export function recordChanges(change: () => void): HostEvent[] {
  const events: HostEvent[] = [];
  recordHost((event) => events.push(event));
  try {
    change();
  } finally {
    recordHost(undefined);
  }
  return events;
}

/**
 * Tries the states that a power cut may leave, `most` of them, until one is wrong.
 *
 * @param wrongWith all that is wrong with the files in memory, in the state of that number from 1 on
 */
export function tryCuts(
  disk: TinyDisk,
  events: readonly HostEvent[],
  plan: ReplayPlan,
  most: number,
  wrongWith: (state: number) => readonly string[],
): { states: number; wrong: string[] } {
  let states = 0;
  const wrong: string[] = [];
  replay({ disk, events }, plan, new Random(1), {
    isDone: () => states >= most || wrong.length > 0,
    opened: () => undefined,
    state: (_point, describe) => {
      states += 1;
      const problems = wrongWith(states);
      if (problems.length > 0) wrong.push([describe(), ...problems].join('\n'));
    },
  });
  return { states, wrong };
}
