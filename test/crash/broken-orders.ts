/**
 * Traces as they would be if the engine kept a wrong order: proof that the crash tests see what they
 * are there for. Which writes are tables and which directories is read from the finished files, from
 * the format's facts alone.
 */
import { memoryFiles, type HostEvent, type MemoryFile } from './memory-host.js';
import type { Trace, TraceEvent } from './workload.js';

const SECTOR = 512;

type Part = 'table' | 'directory' | 'record' | 'other';

interface Area {
  readonly part: Part;
  readonly start: number;
  readonly end: number;
}

/** What an engine might do wrong. */
export const BROKEN_ORDERS = {
  'no barrier between data and tables': (trace: Trace) => withoutBarriers(trace, 'other', 'table'),
  'no barrier between tables and directories': (trace: Trace) =>
    withoutBarriers(trace, 'table', 'directory'),
  'the record of used space behind the tables': withLateRecords,
  'a flush that ends without a barrier': withoutLastBarriers,
} as const satisfies Record<string, (trace: Trace) => Trace>;

/** The trace without the barriers between writes of one part and those of another. */
function withoutBarriers(trace: Trace, before: Part, after: Part): Trace {
  const partOf = newPartOf();
  const isDropped = (event: TraceEvent, index: number): boolean => {
    if (event.kind !== 'barrier') return false;
    const last = trace.events.slice(0, index).findLast((each) => isChange(each, event.file));
    const next = trace.events.slice(index).find((each) => isChange(each, event.file));
    const lastPart = last === undefined ? 'other' : partOf(last);
    const isBefore = before === 'other' ? lastPart !== 'table' : lastPart === before;
    return isBefore && next !== undefined && partOf(next) === after;
  };
  return { ...trace, events: trace.events.filter((event, index) => !isDropped(event, index)) };
}

/** The trace with the record written where the tables of the same flush have been. */
function withLateRecords(trace: Trace): Trace {
  const partOf = newPartOf();
  const events: TraceEvent[] = [];
  let held: TraceEvent[] = [];
  let hasTables = false;
  for (const event of trace.events) {
    const part = event.kind === 'change' ? partOf(event) : undefined;
    const isEnd = event.kind === 'flushed' || event.kind === 'closed' || event.kind === 'guest';
    if ((event.kind === 'barrier' && hasTables) || isEnd) {
      events.push(...held);
      held = [];
      hasTables = false;
    }
    if (part === 'record') held.push(event);
    else events.push(event);
    if (part === 'table') hasTables = true;
  }
  return { ...trace, events: [...events, ...held] };
}

/** The trace without the barrier right before the guest is told that all is durable. */
function withoutLastBarriers(trace: Trace): Trace {
  const events = trace.events.filter(
    ({ kind }, index) => kind !== 'barrier' || trace.events[index + 1]?.kind !== 'flushed',
  );
  return { ...trace, events };
}

function isChange(event: TraceEvent, file: MemoryFile): event is ChangeEvent {
  return event.kind === 'change' && event.file === file;
}

type ChangeEvent = Extract<HostEvent, { kind: 'change' }>;

/** Tells the parts of the files in memory apart. */
function newPartOf(): (event: ChangeEvent) => Part {
  const areas = new Map(memoryFiles().map((file) => [file.path, areasOf(file.content)]));
  return ({ file, position }) => {
    const found = areas
      .get(file.path)
      ?.find(({ end, start }) => position >= start && position < end);
    return found?.part ?? 'other';
  };
}

function areasOf(file: Buffer): Area[] {
  switch (file.toString('latin1', 0, 4)) {
    case 'KDMV':
      return hostedAreas(file);
    case 'COWD':
      return cowdAreas(file);
    case '\xbe\xba\xfe\xca':
      return seSparseAreas(file);
    default:
      return [];
  }
}

/** A directory of u32 sectors, and its tables. */
function directoryAreas(file: Buffer, start: number, count: number, tableBytes: number): Area[] {
  const areas: Area[] = [{ part: 'directory', start, end: start + count * 4 }];
  for (let table = 0; table < count; table++) {
    const place = file.readUInt32LE(start + table * 4) * SECTOR;
    if (place > 0) areas.push({ part: 'table', start: place, end: place + tableBytes });
  }
  return areas;
}

function hostedAreas(file: Buffer): Area[] {
  const field = (at: number): number => Number(file.readBigUInt64LE(at));
  const entries = file.readUInt32LE(44);
  const count = Math.ceil(field(12) / field(20) / entries);
  const starts = (file.readUInt32LE(8) & 2) === 0 ? [field(56)] : [field(56), field(48)];
  return starts.flatMap((start) => directoryAreas(file, start * SECTOR, count, entries * 4));
}

function cowdAreas(file: Buffer): Area[] {
  const count = Math.ceil(file.readUInt32LE(12) / file.readUInt32LE(16) / 4096);
  const areas = directoryAreas(file, file.readUInt32LE(20) * SECTOR, count, 16 * 1024);
  return [{ part: 'record', start: 28, end: 32 }, ...areas];
}

function seSparseAreas(file: Buffer): Area[] {
  const region = (part: Part, at: number): Area => {
    const start = Number(file.readBigUInt64LE(at)) * SECTOR;
    return { part, start, end: start + Number(file.readBigUInt64LE(at + 8)) * SECTOR };
  };
  const tableCount: Area = { part: 'record', start: 520, end: 528 };
  return [region('directory', 128), region('table', 144), region('record', 160), tableCount];
}
