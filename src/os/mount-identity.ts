/**
 * Which mount is which. The kernel gives the number of a mount, and that of its device, to the next
 * one as soon as the mount is gone: a file system that somebody mounts in the place of ours looks
 * like ours to whoever compares them. From Linux 6.8 on each mount has a number that is never used
 * again, which statmount(2) knows; it touches neither the mount nor a path. Without it the type and
 * the source of the mount are compared as well.
 */
import { struct, u32, u64, viewOf } from '../binary/struct.js';
import { Errno } from '../errno.js';
import { libcIfAny, type Libc } from './libc.js';
import { isSameEntry, readMountTable, type MountEntry } from './mount-table.js';
import { allocatePinned, pinnedAddress } from './pinned-memory.js';

/** One mount, told apart from those before and after it. */
export interface Mount extends MountEntry {
  /** Its number for ever; undefined where the kernel has none. */
  readonly uniqueId: number | undefined;
}

/** Where a mount is now; `entry` is as the table has it now, because folders get other names. */
export type MountPlace =
  | { readonly state: 'on top'; readonly entry: MountEntry }
  | { readonly state: 'covered'; readonly entry: MountEntry; readonly by: MountEntry }
  | { readonly state: 'gone' };

/** System calls, with the same numbers on all architectures that `libc.ts` is for. */
const SYS_STATMOUNT = 457;
const SYS_LISTMOUNT = 458;

/** listmount(2): all mounts that this process can reach. */
const LSMT_ROOT = 0xffff_ffff_ffff_ffffn;

/** statmount(2): the numbers of the mount. */
const STATMOUNT_MNT_BASIC = 2;

/** `struct mnt_id_req`, its first version. */
const Request = struct('mnt_id_req', 24, { size: u32, spare: u32, id: u64, parameter: u64 });

/** `struct statmount` up to the fields that are read. */
const Answer = struct('statmount', 64, {
  size: u32,
  mountOptions: u32,
  mask: u64,
  deviceMajor: u32,
  deviceMinor: u32,
  magic: u64,
  flags: u32,
  type: u32,
  uniqueId: u64,
  uniqueParentId: u64,
  id: u32,
  parentId: u32,
});

/** The kernel writes all of its struct, which grows. */
const ANSWER_BYTES = 4096;

/** How many mounts are listed at a time. */
const LISTED = 256;

/** What is known of `entry`, which is mounted now, to find it again. */
export function identify(entry: MountEntry): Mount {
  return { ...entry, uniqueId: uniqueIdOf(entry.id) };
}

/** Where `mount` is now. */
export function placeOf(mount: Mount): MountPlace {
  const table = readMountTable();
  const entry = table.find((each) => isSameEntry(each, mount));
  // Looked for after the table was read: while it is there nobody else has its other numbers.
  if (entry === undefined || !exists(mount.uniqueId)) return { state: 'gone' };
  const top = table.findLast((each) => each.mountpoint === entry.mountpoint);
  if (top === undefined || top === entry) return { state: 'on top', entry };
  return { state: 'covered', entry, by: top };
}

class Calls {
  readonly #c: Libc;
  readonly #request = allocatePinned(Request.byteLength, 0);
  readonly #ids = allocatePinned(LISTED * 8, 0);
  readonly #answer = allocatePinned(ANSWER_BYTES, 0);

  constructor(c: Libc) {
    this.#c = c;
  }

  /** The numbers of mounts above `last`, ascending; undefined where the kernel cannot tell. */
  list(last: number): number[] | undefined {
    const view = viewOf(this.#request);
    Request.size.set(view, 0, Request.byteLength);
    view.setBigUint64(Request.id.offset, LSMT_ROOT, true);
    Request.parameter.set(view, 0, last);
    const count = this.#call(SYS_LISTMOUNT, this.#ids, LISTED);
    if (count < 0) return undefined;
    const ids = viewOf(this.#ids);
    return Array.from({ length: count }, (_, index) => u64.at(index * 8).get(ids, 0));
  }

  /** The other number of the mount `uniqueId`, or the negative errno. */
  idOf(uniqueId: number): number {
    const view = viewOf(this.#request);
    Request.size.set(view, 0, Request.byteLength);
    Request.id.set(view, 0, uniqueId);
    Request.parameter.set(view, 0, STATMOUNT_MNT_BASIC);
    if (this.#call(SYS_STATMOUNT, this.#answer, ANSWER_BYTES) < 0) return -this.#c.errno();
    return Answer.id.get(viewOf(this.#answer), 0);
  }

  #call(number: number, target: Uint8Array, length: number): number {
    const request = pinnedAddress(this.#request) ?? 0;
    return this.#c.syscall(number, request, pinnedAddress(target) ?? 0, length, 0);
  }
}

let calls: Calls | undefined;

function callsIfAny(): Calls | undefined {
  const c = libcIfAny();
  if (c !== undefined) calls ??= new Calls(c);
  return calls;
}

function uniqueIdOf(id: number): number | undefined {
  const found = callsIfAny();
  for (let last = 0; found !== undefined;) {
    const listed = found.list(last);
    const uniqueId = listed?.find((each) => found.idOf(each) === id);
    if (uniqueId !== undefined || listed === undefined || listed.length < LISTED) return uniqueId;
    last = listed.at(-1) ?? last;
  }
  return undefined;
}

/** Whether the mount with this number is there; true where nobody can tell. */
function exists(uniqueId: number | undefined): boolean {
  if (uniqueId === undefined) return true;
  return callsIfAny()?.idOf(uniqueId) !== -Errno.ENOENT;
}
