/** Operations that are counted as requests when they are answered. */
import { requestKind, type RequestCounters } from '../request-counters.js';
import type { Operations } from './fuse-native.js';

type Operation = (...args: unknown[]) => void;
type Done = (result: number, ...more: unknown[]) => void;

/** What the kernel asks by one request and libfuse by several operations. */
const SETATTR: readonly string[] = ['truncate', 'ftruncate', 'chmod', 'chown', 'utimens'];

/** Those whose result is a number of bytes. */
const MOVERS: readonly string[] = ['read', 'write'];

/** `operations`, with `counters` told of each call when it is answered. */
export function countedOperations<T extends Partial<Operations>>(
  operations: T,
  counters: RequestCounters,
): T {
  const counted = Object.entries(operations).map(([name, operation]) => [
    name,
    countedOperation(name, operation as Operation, counters),
  ]);
  return Object.fromEntries(counted) as T;
}

function countedOperation(name: string, act: Operation, counters: RequestCounters): Operation {
  const kind = requestKind(SETATTR.includes(name) ? 'setattr' : name);
  const isMover = MOVERS.includes(name);
  return (...args) => {
    const done = args.pop() as Done;
    const started = performance.now();
    act(...args, (result: number, ...more: unknown[]) => {
      counters.add(kind, result < 0, performance.now() - started);
      if (isMover && result > 0) counters.addBytes(kind, result);
      done(result, ...more);
    });
  };
}
