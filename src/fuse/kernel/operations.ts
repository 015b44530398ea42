/**
 * What each opcode means: a name for the log, the shortest request that is one, and the function
 * that serves it. A handler reads its arguments from the request, fills the payload of the reply and
 * returns how many bytes of it count, or a negative errno.
 */
import { Errno } from '../../errno.js';
import {
  FallocateIn,
  FlushIn,
  FsyncIn,
  GetattrIn,
  InHeader,
  LseekIn,
  OpenIn,
  ReadIn,
  ReleaseIn,
  SetattrIn,
  WriteIn,
} from './abi.js';
import { getattr, lookup, setattr, statfs } from './attribute-operations.js';
import { fallocate, fsync, lseek, open, read, release, write } from './data-operations.js';
import { opendir, readdir, readdirplus } from './directory-operations.js';
import type { Exchange } from './exchange.js';
import { requestKind } from '../request-counters.js';
import { Opcode } from './opcodes.js';
import { NO_REPLY } from './result.js';

export interface Operation {
  readonly name: string;
  /** What it is counted as, see `request-counters.ts`. */
  readonly kind: number;
  /** Shortest valid request, header included, in bytes. */
  readonly minimum: number;
  /** Whether the kernel expects no reply. */
  readonly isSilent: boolean;
  /** Whether it works on a handle, so that opening has decided who may. */
  readonly needsHandle: boolean;
  readonly handle: (exchange: Exchange) => number;
}

const OPERATIONS: (Operation | undefined)[] = [];

/** The operation with this opcode, or undefined. */
export function operationOf(opcode: number): Operation | undefined {
  return OPERATIONS[opcode];
}

/** `body` is the shortest body of a request, in bytes. */
function define(
  name: keyof typeof Opcode,
  body: number,
  handle: (exchange: Exchange) => number,
  traits: { isSilent?: true; needsHandle?: true } = {},
): void {
  OPERATIONS[Opcode[name]] = {
    name,
    kind: requestKind(name === 'READDIRPLUS' ? 'readdir' : name.toLowerCase()),
    minimum: InHeader.byteLength + body,
    isSilent: traits.isSilent === true,
    needsHandle: traits.needsHandle === true,
    handle,
  };
}

const succeed = (): number => 0;
const ignore = (): number => NO_REPLY;
/** The tree is fixed: names are neither made nor removed. */
const refuse = (): number => -Errno.EPERM;

/** A name is at least one byte and its NUL. */
const NAME = 2;
const handled = { needsHandle: true } as const;
const silent = { isSilent: true } as const;

define('LOOKUP', NAME, lookup);
define('GETATTR', GetattrIn.byteLength, getattr);
define('SETATTR', SetattrIn.byteLength, setattr);
define('STATFS', 0, statfs);

// Permissions are the kernel's to check (default_permissions); allow_root is checked for all.
define('ACCESS', 8, succeed);

define('OPEN', OpenIn.byteLength, open);
define('READ', ReadIn.byteLength, read, handled);
define('WRITE', WriteIn.byteLength, write, handled);
define('LSEEK', LseekIn.byteLength, lseek, handled);
define('FALLOCATE', FallocateIn.byteLength, fallocate, handled);
// Closing a file makes what was written durable, as fsync does.
define('FLUSH', FlushIn.byteLength, fsync, handled);
define('FSYNC', FsyncIn.byteLength, fsync, handled);
define('RELEASE', ReleaseIn.byteLength, release, handled);

define('OPENDIR', OpenIn.byteLength, opendir);
define('READDIR', ReadIn.byteLength, readdir, handled);
define('READDIRPLUS', ReadIn.byteLength, readdirplus, handled);
define('FSYNCDIR', FsyncIn.byteLength, succeed, handled);
define('RELEASEDIR', ReleaseIn.byteLength, succeed, handled);

// Inodes are never freed, so nobody counts look-ups.
define('FORGET', 8, ignore, silent);
define('BATCH_FORGET', 8, ignore, silent);
// A request is served to its end by the thread that read it: there is nothing to interrupt.
define('INTERRUPT', 8, ignore, silent);
define('DESTROY', 0, succeed, handled);

for (const name of ['MKNOD', 'MKDIR', 'UNLINK', 'RMDIR', 'SYMLINK', 'CREATE'] as const) {
  define(name, NAME, refuse);
}
for (const name of ['RENAME', 'RENAME2', 'LINK'] as const) define(name, NAME, refuse);
