/**
 * Opens an image as mounts do, and uses it: reads, a walk over its holes, writes, and opening again
 * what was written. Nothing but errors of the image and of the system may come of it.
 */
import { constants } from 'node:os';
import type { BlockDevice } from '../../src/block/block-device.js';
import { listDisks, openImage, wholeFile, type OpenedImage } from '../../src/block/open-image.js';
import { VmdkError } from '../../src/vmdk/vmdk-error.js';
import type { FuzzCase, Step } from './cases.js';
import {
  assertInside,
  assertNothingLeft,
  assertUnchanged,
  Finding,
  hashes,
  openFiles,
  withinFolder,
} from './guards.js';
import type { Place } from './make-image.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Bytes read at a time, and of the start and the end of a disk. */
const CHUNK_BYTES = 256 * KIB;
const START_BYTES = 3 * MIB;
const END_BYTES = 512 * KIB;

/** Stands for a close that failed. */
const NOT_CLOSED = 'not closed';

/** Steps of a walk over holes. */
const WALK_MAX = 5000;

/** What came of it: `opened` or an error's code for each way to open, and the codes of operations. */
export interface Use {
  readonly reading: string;
  readonly writing: string;
  readonly operations: readonly string[];
}

/** @throws Finding */
export function useImage(place: Place, fuzzed: FuzzCase): Use {
  const operations = new Set<string>();
  const before = hashes(place.folder);
  const reading = useReading(place, fuzzed, operations);
  assertUnchanged(place.folder, before, 'after it was only read');
  const writing = useWriting(place, fuzzed, operations, before);
  if (writing !== 'opened') assertUnchanged(place.folder, before, 'after it did not open');
  return { reading, writing, operations: [...operations] };
}

/** The code of an error that may happen; any other is a finding. */
function codeOf(error: unknown, what: string): string {
  if (error instanceof Finding) throw error;
  if (error instanceof VmdkError) return error.code;
  if (error instanceof Error && 'code' in error && 'errno' in error) {
    const { code, errno } = error;
    const isSystem = typeof code === 'string' && Object.hasOwn(constants.errno, code);
    if (isSystem && typeof errno === 'number' && errno < 0) return code;
  }
  const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
  throw new Finding(`${what}: ${words}`, { cause: error });
}

/** Does something with a disk; undefined where it went well. */
function attempt(what: string, codes: Set<string>, action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    const code = codeOf(error, what);
    codes.add(code);
    return code;
  }
}

/** Opens the image and passes it on; files that stay open are a finding. */
function open(
  place: Place,
  fuzzed: FuzzCase,
  readOnly: boolean,
  use: (image: OpenedImage) => void,
): string {
  const { disk, folder, image } = place;
  const { dropChangeTracking, force, tableMemory } = fuzzed;
  const memory = tableMemory === undefined ? {} : { tableMemory };
  const options = { readOnly, disk, force, dropChangeTracking, ...memory };
  const before = openFiles();
  let opened: OpenedImage;
  try {
    opened = withinFolder(folder, () => openImage(image, options));
  } catch (error) {
    const code = codeOf(error, readOnly ? 'opening for reading' : 'opening for writing');
    assertNothingLeft(before, `after opening failed with ${code}`);
    return code;
  }
  assertInside(folder, before);
  use(opened);
  assertNothingLeft(before, 'after closing');
  return 'opened';
}

function useReading(place: Place, fuzzed: FuzzCase, codes: Set<string>): string {
  if (place.disk !== undefined) attempt('listing', codes, () => listDisks(place.image));
  return open(place, fuzzed, true, ({ description, device }) => {
    read(device, codes);
    walk(device, codes);
    attempt('wholeFile', codes, () => wholeFile(description));
    const refused = attempt('write', new Set(), () => {
      device.write(Buffer.alloc(1), 0, 1, 0);
    });
    if (refused !== 'EROFS')
      throw new Finding(`a write to a disk opened for reading: ${refused ?? 'done'}`);
    attempt('close', codes, () => {
      device.close();
    });
  });
}

function useWriting(
  place: Place,
  fuzzed: FuzzCase,
  codes: Set<string>,
  before: ReadonlyMap<string, string>,
): string {
  const failures = new Set<string>();
  const parents = new Set<string>();
  const writing = open(place, fuzzed, false, ({ chain, device }) => {
    const own = new Set(filesOf(chain.slice(0, 1)));
    for (const file of filesOf(chain.slice(1))) if (!own.has(file)) parents.add(file);
    read(device, codes);
    for (const each of fuzzed.steps) apply(device, each, failures);
    attempt('flush', failures, () => {
      device.flush();
    });
    read(device, failures);
    walk(device, failures);
    const failure = attempt('close', failures, () => {
      device.close();
    });
    if (failure !== undefined) failures.add(NOT_CLOSED);
  });
  for (const failure of failures) codes.add(failure);
  const now = hashes(place.folder);
  for (const [name, hash] of before) {
    const path = `${place.folder}/${name}`;
    if (parents.has(path) && now.get(name) !== hash)
      throw new Finding(`${name}, a parent, was written`);
  }
  if (writing !== 'opened') return writing;
  const again = open(place, fuzzed, true, ({ device }) => {
    read(device, codes);
    walk(device, codes);
    device.close();
  });
  if (again !== 'opened' && !failures.has(NOT_CLOSED)) {
    throw new Finding(
      `opened for writing and closed without an error, and does not open again: ${again}`,
    );
  }
  return writing;
}

function filesOf(chain: OpenedImage['chain']): string[] {
  return chain.flatMap(({ extents, path }) => [
    path,
    ...extents.flatMap((each) => each.path ?? []),
  ]);
}

function read(device: BlockDevice, codes: Set<string>): void {
  const { size } = device;
  const target = Buffer.alloc(CHUNK_BYTES);
  const range = (from: number, to: number): void => {
    for (let at = from; at < to; at += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, to - at);
      attempt('read', codes, () => {
        device.read(target, 0, length, at);
      });
    }
  };
  const start = Math.min(size, START_BYTES);
  range(0, start);
  range(Math.max(start, size - END_BYTES), size);
  attempt('allocatedBytes', codes, () => {
    const bytes = device.allocatedBytes();
    if (!(bytes >= 0 && bytes <= size)) throw new Finding(`${bytes} of ${size} bytes allocated`);
  });
}

/** Goes from data to hole to data; each step has to lead on. */
function walk(device: BlockDevice, codes: Set<string>): void {
  const { size } = device;
  attempt('walk', codes, () => {
    for (let at = 0, count = 0; at < size && count < WALK_MAX; count++) {
      const data = device.nextData(at, size);
      if (data < at || data > size) throw new Finding(`nextData(${at}) of ${size} is ${data}`);
      if (data === size) break;
      const hole = device.nextHole(data, size);
      if (hole <= data || hole > size) {
        throw new Finding(`nextHole(${data}) of ${size} is ${hole}, where data begins`);
      }
      at = hole;
    }
  });
}

function apply(device: BlockDevice, step: Step, codes: Set<string>): void {
  const at = Math.floor(step.at * (device.size - 1));
  const length = Math.min(step.length, device.size - at);
  attempt(step.kind, codes, () => {
    if (step.kind === 'flush') device.flush();
    else if (step.kind === 'zero') device.zero(at, length);
    else device.write(Buffer.alloc(length, 0x5a), 0, length, at);
  });
}
