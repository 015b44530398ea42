/**
 * The C library's calls that Node has no function for, through koffi; the only foreign functions
 * there are. They are declared for 64-bit Linux (glibc and musl), where `long`, `size_t` and a
 * pointer have 64 bits; memory is given by its address (`addressOf`), a number, which costs no
 * object a call. Each returns what C returns: -1 for a failure, whose number `errno` has until the
 * next call of the same thread.
 */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

export interface Libc {
  /** The errno of this thread's last failed call, positive. */
  errno(): number;
  /** Where `bytes` begins in memory. It stays there as long as somebody holds `bytes`. */
  addressOf(bytes: Uint8Array): number;

  read(fd: number, address: number, length: number): number;
  write(fd: number, address: number, length: number): number;
  pread(fd: number, address: number, length: number, position: number): number;
  pwrite(fd: number, address: number, length: number, position: number): number;
  /** `address` is that of `count` descriptors with what is waited for, 8 bytes each. */
  poll(address: number, count: number, milliseconds: number): number;
  /** Moves the file's own offset, which nothing here uses. */
  lseek(fd: number, offset: number, whence: number): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** Linux only, with glibc and musl alike. */
  sync_file_range(fd: number, offset: number, length: number, flags: number): number;
  fcntl(fd: number, command: number, type: 'uintptr_t', argument: number): number;
  ioctl(fd: number, request: number, type: 'uintptr_t', argument: number): number;
  prctl(option: number, type: 'ulong', argument: number, ...zeros: readonly unknown[]): number;
  /** Fills two 32-bit descriptors at `address`. */
  socketpair(domain: number, type: number, protocol: number, address: number): number;
  recvmsg(fd: number, message: number, flags: number): number;
  socket(domain: number, type: number, protocol: number): number;
  sendto(
    fd: number,
    address: number,
    length: number,
    flags: number,
    to: number,
    toLength: number,
  ): number;
  /** `target` is the address of a path that ends with a zero byte. */
  mount(source: string, target: number, type: string, flags: number, data: string): number;
  /** For calls that the C library has no function for: their number and four arguments. */
  syscall(number: number, a: number, b: number, c: number, d: number): number;
  /** Ends the process at once, threads that are blocked in the kernel included. */
  _exit(code: number): number;
}

const SIGNATURES = {
  read: 'int64_t read(int fd, uintptr_t buffer, size_t count)',
  write: 'int64_t write(int fd, uintptr_t buffer, size_t count)',
  pread: 'int64_t pread(int fd, uintptr_t buffer, size_t count, int64_t offset)',
  pwrite: 'int64_t pwrite(int fd, uintptr_t buffer, size_t count, int64_t offset)',
  poll: 'int poll(uintptr_t descriptors, ulong count, int milliseconds)',
  lseek: 'int64_t lseek(int fd, int64_t offset, int whence)',
  fallocate: 'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
  sync_file_range:
    'int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)',
  fcntl: 'int fcntl(int fd, int command, ...)',
  ioctl: 'int ioctl(int fd, ulong request, ...)',
  prctl: 'int prctl(int option, ...)',
  socketpair: 'int socketpair(int domain, int type, int protocol, uintptr_t descriptors)',
  recvmsg: 'int64_t recvmsg(int fd, uintptr_t message, int flags)',
  socket: 'int socket(int domain, int type, int protocol)',
  sendto:
    'int64_t sendto(int fd, uintptr_t buffer, size_t length, int flags, uintptr_t to, uint32_t toLength)',
  mount: 'int mount(str source, uintptr_t target, str type, ulong flags, str data)',
  syscall: 'long syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)',
  _exit: 'void _exit(int code)',
} as const satisfies Record<Exclude<keyof Libc, 'errno' | 'addressOf'>, string>;

/** Architectures on which these declarations and the ioctl numbers in this folder are right. */
const ARCHITECTURES = ['x64', 'arm64', 'riscv64', 'loong64'];

let loaded: Libc | undefined;

/**
 * The C library of this process.
 *
 * @throws where koffi has no binary for this machine, or the declarations do not fit it
 */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

/** The C library, loaded now if need be; undefined where there is none for this machine. */
export function libcIfAny(): Libc | undefined {
  try {
    return libc();
  } catch {
    return undefined;
  }
}

/** The C library if this thread has loaded it already. */
export function loadedLibc(): Libc | undefined {
  return loaded;
}

function loadKoffi(): typeof Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as typeof Koffi;
  } catch (error) {
    // Node lists who asked for it, a line each.
    const [reason] = String(error instanceof Error ? error.message : error).split('\n');
    throw new Error(reason, { cause: error });
  }
}

function load(): Libc {
  if (process.platform !== 'linux' || !ARCHITECTURES.includes(process.arch)) {
    throw new Error(
      `calls to the C library are declared for Linux on ${ARCHITECTURES.join(', ')}, this is ${process.platform} on ${process.arch}`,
    );
  }
  const koffi = loadKoffi();
  const library = koffi.load(null);
  const functions = Object.entries(SIGNATURES).map(([name, signature]) => [
    name,
    library.func(signature),
  ]);
  return {
    ...(Object.fromEntries(functions) as Omit<Libc, 'errno' | 'addressOf'>),
    errno: () => koffi.errno(),
    addressOf: (bytes) => Number(koffi.address(bytes)),
  };
}
