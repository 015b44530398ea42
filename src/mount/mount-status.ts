/** What a server says of its mount, and how it is asked. */
import { engineCounts } from '../block/attach-image.js';
import type { EngineCounts } from '../block/layer-counters.js';
import type { OpenedImage } from '../block/open-image.js';
import { readRequestCounters, type RequestCounts } from '../fuse/request-counters.js';
import { REQUEST_KINDS, type RequestKind } from '../fuse/request-counters.js';
import type { Transport } from '../fuse/transport.js';
import { lookAtMount } from '../os/dead-mount.js';
import type { MountEntry } from '../os/mount-table.js';
import { ANSWER_MS, askServer } from './control-socket.js';
import type { MountRequest } from './mount-request.js';

/** A mount and what it has done so far; sizes in bytes. */
export interface MountStatus {
  /** The image as it was named, an absolute path. */
  readonly image: string;
  readonly pid: number;
  /** When the mount was there, ISO 8601. */
  readonly started: string;
  readonly readOnly: boolean;
  readonly transport: string;
  /** Threads that serve requests. */
  readonly workers: number;
  readonly writebackCache: boolean;
  /** Whether the kernel reads the disk by itself: such reads are not counted. */
  readonly passthrough: boolean;
  readonly size: number;
  /** What takes up space in the image and its parents, a second ago at most. */
  readonly allocated: number;
  readonly requests: Readonly<Record<RequestKind, RequestCounts>>;
  readonly engine: EngineCounts;
}

/** Memory that a session's threads share for its status. */
export interface SharedStatus {
  readonly counters: SharedArrayBuffer;
  /** One Float64: bytes allocated. */
  readonly allocated: SharedArrayBuffer;
}

/** What tells the status of a mount that is there now; touches neither the mount nor the storage. */
export function statusReader(
  image: OpenedImage,
  request: MountRequest,
  transport: Transport,
  shared: SharedStatus,
): () => MountStatus {
  const started = new Date().toISOString();
  const allocated = new Float64Array(shared.allocated);
  return () => ({
    image: request.image,
    pid: process.pid,
    started,
    readOnly: image.device.readOnly,
    transport: transport.name,
    workers: transport.threads,
    writebackCache: request.writebackCache,
    passthrough: transport.passthrough,
    size: image.device.size,
    allocated: allocated[0] ?? 0,
    requests: readRequestCounters(shared.counters),
    engine: engineCounts(image.description),
  });
}

/** A server's answer, or why there is none, in words for the user. */
export type AskedStatus =
  | { readonly state: 'mounted'; readonly status: MountStatus }
  | { readonly state: 'dead' | 'forbidden' | 'silent'; readonly reason: string };

/** Asks the server of a mount; waits for each step ANSWER_MS at most. */
export async function askStatus(entry: MountEntry): Promise<AskedStatus> {
  const answer = await askServer(entry, 'status');
  switch (answer.kind) {
    case 'line': {
      const status = parseStatus(answer.line);
      if (status !== undefined) return { state: 'mounted', status };
      const reason = 'its server gave an answer that this version of vmdkfs does not understand';
      return { state: 'silent', reason };
    }
    case 'forbidden':
      return {
        state: 'forbidden',
        reason: `its server answers only user ${entry.userId}, who mounted it, and root`,
      };
    case 'silent':
      return { state: 'silent', reason: `its server did not answer within ${ANSWER_MS / 1000} s` };
    case 'refused':
    case 'absent': {
      const look = await lookAtMount(entry.mountpoint, ANSWER_MS);
      // A socket that nobody listens at may be of an earlier mount with the same device number.
      if (look === 'dead' || (look === 'unknown' && answer.kind === 'refused')) return DEAD;
      return { state: 'silent', reason: 'its server cannot be asked: it has no control socket' };
    }
  }
}

const DEAD: AskedStatus = { state: 'dead', reason: 'its server has died' };

type Shape = 'string' | 'number' | 'boolean' | { readonly [name: string]: Shape };

const LATENCY_SHAPE: Shape = { p50: 'number', p90: 'number', p99: 'number', max: 'number' };

const COUNTS_SHAPE: Shape = {
  requests: 'number',
  errors: 'number',
  bytes: 'number',
  microseconds: 'number',
};

const STATUS_SHAPE: Shape = {
  image: 'string',
  pid: 'number',
  started: 'string',
  readOnly: 'boolean',
  transport: 'string',
  workers: 'number',
  writebackCache: 'boolean',
  passthrough: 'boolean',
  size: 'number',
  allocated: 'number',
  engine: {
    grainsAllocated: 'number',
    copyFills: 'number',
    cacheHits: 'number',
    cacheMisses: 'number',
    tableLoads: 'number',
    flushes: 'number',
    barriers: 'number',
  } satisfies Record<keyof EngineCounts, Shape>,
} satisfies Record<Exclude<keyof MountStatus, 'requests'>, Shape>;

/**
 * The status in a server's answer, or undefined where it is none: the server may be another user's,
 * or another version's. Nothing else of the answer is kept.
 */
export function parseStatus(line: string): MountStatus | undefined {
  try {
    const answer = JSON.parse(line) as unknown;
    const requests = REQUEST_KINDS.map((kind) => {
      const counts = member(member(answer, 'requests'), kind);
      const latency = member(counts, 'latency');
      const fitted = latency === null ? null : fit(latency, LATENCY_SHAPE);
      return [kind, { ...(fit(counts, COUNTS_SHAPE) as object), latency: fitted }];
    });
    const status = fit(answer, STATUS_SHAPE) as Omit<MountStatus, 'requests'>;
    return { ...status, requests: Object.fromEntries(requests) as MountStatus['requests'] };
  } catch {
    return undefined;
  }
}

/** What `shape` names of `value`, and nothing else. */
function fit(value: unknown, shape: Shape): unknown {
  if (typeof shape === 'object') {
    const members = Object.entries(shape).map(([name, each]) => [
      name,
      fit(member(value, name), each),
    ]);
    return Object.fromEntries(members);
  }
  if (typeof value === shape && (shape !== 'number' || Number.isFinite(value))) return value;
  throw new TypeError(`not a ${shape}`);
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) {
    throw new TypeError(`no member ${name}`);
  }
  return (value as Record<string, unknown>)[name];
}
