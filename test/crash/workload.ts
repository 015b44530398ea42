/**
 * What a guest does to a disk, and the trace of it: all that the engine did to its host, in order,
 * between what the guest asked for and was told.
 */
import type { BlockDevice } from '../../src/block/block-device.js';
import { openImage } from '../../src/block/open-image.js';
import { Errno, toErrno } from '../../src/errno.js';
import { pattern } from '../helpers/made-disk.js';
import type { TinyDisk } from './tiny-disks.js';
import type { GuestChange } from './guest-model.js';
import { fillHost, loadFiles, MEMORY_FOLDER, recordHost, type HostEvent } from './memory-host.js';
import type { Random } from './random.js';

interface Range {
  readonly at: number;
  readonly length: number;
}

/** One step of a guest; ranges are those of the zones, one behind the other. */
type Step = ChangeStep | { readonly kind: 'flush' } | { readonly kind: 'reopen' };

interface ChangeStep {
  readonly kind: 'write' | 'zeros' | 'discard';
  readonly seed: number;
  readonly range: Range;
  /** How much the host takes before it is full, where it is; and whether it punches holes then. */
  readonly room?: { readonly bytes: number; readonly punches: boolean };
}

/** In the order in which it happened; `flushed` and `closed` are when the guest was told so. */
export type TraceEvent =
  HostEvent | GuestChange | { readonly kind: 'opened' | 'flushed' | 'closing' | 'closed' };

export interface Trace {
  readonly disk: TinyDisk;
  readonly events: readonly TraceEvent[];
}

/** How a workload looks. */
export interface WorkloadPlan {
  readonly steps: number;
  /** Sectors of the largest write. */
  readonly reach: number;
}

/** The path of a disk's image in memory. */
export function imagePath(disk: TinyDisk): string {
  return `${MEMORY_FOLDER}/${disk.image}`;
}

/** A range within one zone of `disk`, near the beginning of a sector or grain as often as not. */
export function randomRange(random: Random, disk: TinyDisk, reach: number): Range {
  const zone = random.pick(disk.zones);
  const { length: wanted, unit } = randomSize(random, disk, reach);
  const exact = random.below(zone.length);
  const at = exact - ((zone.start + exact) % unit);
  // A grain may begin before its zone does.
  const start = Math.max(0, at);
  let before = 0;
  for (const each of disk.zones) {
    if (each === zone) break;
    before += each.length;
  }
  return { at: before + start, length: Math.min(wanted, zone.length - start) };
}

/** How much is written, and of what its place is a multiple. */
function randomSize(
  random: Random,
  { grainBytes }: TinyDisk,
  reach: number,
): { length: number; unit: number } {
  const dice = random.below(10);
  // Whole grains can be discarded.
  if (dice < 2) return { length: grainBytes * (1 + random.below(2)), unit: grainBytes };
  const unit = random.pick([1, 512, grainBytes]);
  if (dice < 6) return { length: 1 + random.below(700), unit };
  return { length: (1 + random.below(reach)) * random.pick([512, 512, 511]), unit };
}

function randomSteps(random: Random, disk: TinyDisk, plan: WorkloadPlan): Step[] {
  const recent: Range[] = [];
  const range = (): Range => {
    // The same place again, so that flushes come between writes to the same grain.
    const last = recent.at(-1);
    const found = last !== undefined && random.chance(0.3) ? last : undefined;
    const chosen = found ?? randomRange(random, disk, plan.reach);
    recent.push(chosen);
    return chosen;
  };
  return Array.from({ length: plan.steps }, (_, index): Step => {
    const seed = index + random.below(200);
    const dice = random.below(100);
    if (dice < 10) {
      const chosen = range();
      const bytes = random.below(chosen.length + 2 * disk.grainBytes);
      return {
        ...{ kind: 'write', seed, range: chosen },
        room: { bytes, punches: random.chance(0.6) },
      };
    }
    if (dice < 55) return { kind: 'write', seed, range: range() };
    if (dice < 62) return { kind: 'zeros', seed, range: range() };
    if (dice < 76) return { kind: 'discard', seed, range: range() };
    return dice < 94 ? { kind: 'flush' } : { kind: 'reopen' };
  });
}

/** Where byte `at` of the zones lies on the disk. */
export function diskOffset(disk: TinyDisk, at: number): number {
  let rest = at;
  for (const { length, start } of disk.zones) {
    if (rest < length) return start + rest;
    rest -= length;
  }
  throw new RangeError(`the zones have no byte ${at}`);
}

/** Whether a change is done; not where the host had no room for it. */
function isDone(
  device: BlockDevice,
  { kind, range: { length }, room }: ChangeStep,
  bytes: Buffer | undefined,
  offset: number,
): boolean {
  fillHost(room?.bytes, room?.punches);
  try {
    if (kind === 'discard') device.zero(offset, length);
    else device.write(bytes ?? Buffer.alloc(length), 0, length, offset);
    return true;
  } catch (error) {
    if (room === undefined || toErrno(error) !== -Errno.ENOSPC) throw error;
    return false;
  } finally {
    fillHost(undefined);
  }
}

/** Runs a workload on the files of `disk`, which are loaded anew, and closes the image. */
export function runWorkload(disk: TinyDisk, random: Random, plan: WorkloadPlan): Trace {
  const steps = randomSteps(random, disk, plan);
  const options = { readOnly: false, ...(random.chance(0.4) ? { tableMemory: 1 } : {}) };
  const events: TraceEvent[] = [];
  const open = () => {
    const { device } = openImage(imagePath(disk), options);
    events.push({ kind: 'opened' });
    return device;
  };
  loadFiles(disk.files);
  recordHost((event) => {
    if (event.file.path.startsWith(`${MEMORY_FOLDER}/base`)) throw new Error('a parent changed');
    events.push(event);
  });
  try {
    let device = open();
    const close = () => {
      events.push({ kind: 'closing' });
      device.close();
      events.push({ kind: 'closed' });
    };
    for (const step of steps) {
      if (step.kind === 'flush') {
        device.flush();
        events.push({ kind: 'flushed' });
      } else if (step.kind === 'reopen') {
        close();
        device = open();
      } else {
        const { at, length } = step.range;
        const bytes = step.kind === 'write' ? pattern(length, step.seed) : undefined;
        const guest: GuestChange = { kind: 'guest', at, length, bytes };
        events.push(guest);
        guest.isRefused = !isDone(device, step, bytes, diskOffset(disk, at));
      }
    }
    close();
  } finally {
    recordHost(undefined);
  }
  return { disk, events };
}
