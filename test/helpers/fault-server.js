/**
 * Serves the files of a folder over FUSE and fails on command: storage for images that can be as bad
 * as storage gets. Every request looks at the control file first, which holds JSON:
 *
 *   { "write": FAULT, "fsync": FAULT }    either may be absent
 *
 *   FAULT.errno   what the call fails with; absent: it succeeds
 *   FAULT.after   how many calls succeed before, counted from when the control file changed
 *   FAULT.short   the most bytes a write takes
 *   FAULT.loses   of fsync: what was written since the last one that succeeded is lost
 *
 * Looking up `.hang` stops the process, `.hang-unsynced` only while a write waits for its sync; the
 * answer is ENOENT where it will stop, EAGAIN where not. It stops between two requests: one that it
 * had taken could not be given up by whoever waits for it, not even by being killed.
 * Arguments: folder, mountpoint, control file, built modules.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';

const [folder, mountpoint, controlFile, dist] = process.argv.slice(2);
const { mountFuse } = await import(join(dist, 'os/fuse-mount.js'));
const { DISCONNECTED, FuseDevice } = await import(join(dist, 'os/fuse-device.js'));
const { connect } = await import(join(dist, 'fuse/kernel/connect.js'));
const { Exchange } = await import(join(dist, 'fuse/kernel/exchange.js'));
const { newRequestCounters, RequestCounters } = await import(
  join(dist, 'fuse/request-counters.js')
);

const ROOT = 1;
const OPCODE_OFFSET = 4;
const FLUSH = 25;
const { EAGAIN, EINVAL, ENOENT, ENOSYS, EOPNOTSUPP } = constants.errno;

/** What the control file says of a call, with how often it was made since that changed. */
class Faults {
  #text = '';
  #wanted = {};
  #calls = {};

  of(call) {
    const text = readFileSync(controlFile, 'utf8');
    if (text !== this.#text) {
      this.#text = text;
      this.#wanted = JSON.parse(text);
      this.#calls = {};
    }
    const calls = (this.#calls[call] = (this.#calls[call] ?? 0) + 1);
    const { errno = 0, after = 0, short = Infinity, loses = false } = this.#wanted[call] ?? {};
    return { error: calls > after ? -errno : 0, short, loses };
  }
}

/** A file, with what it takes to undo every write since its last sync. */
class StoredFile {
  #fd;
  #undo = [];

  constructor(path) {
    this.#fd = openSync(path, 'r+');
  }

  stat() {
    return fstatSync(this.#fd);
  }

  read(target, length, offset) {
    return readSync(this.#fd, target, 0, length, offset);
  }

  write(source, length, offset) {
    const { size } = this.stat();
    const old = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
    readSync(this.#fd, old, 0, old.length, offset);
    this.#undo.push({ old, offset, size });
    return writeSync(this.#fd, source, 0, length, offset);
  }

  synced() {
    this.#undo = [];
  }

  get isSynced() {
    return this.#undo.length === 0;
  }

  lose() {
    for (const { old, offset, size } of this.#undo.reverse()) {
      writeSync(this.#fd, old, 0, old.length, offset);
      ftruncateSync(this.#fd, size);
    }
    this.#undo = [];
  }

  close() {
    closeSync(this.#fd);
  }
}

/** The project's contract of a mounted tree, over the files that are in the folder at the start. */
class Storage {
  #names = readdirSync(folder);
  #files = this.#names.map((name) => new StoredFile(join(folder, name)));
  #faults = new Faults();
  /** Whether to stop before the next request is taken. */
  isStopping = false;

  #file(ino) {
    return this.#files[ino - ROOT - 1];
  }

  lookup(parent, name) {
    if (name === '.hang' || name === '.hang-unsynced') {
      this.isStopping = name === '.hang' || this.#files.some((file) => !file.isSynced);
      return this.isStopping ? -ENOENT : -EAGAIN;
    }
    const index = this.#names.indexOf(name);
    return parent === ROOT && index >= 0 ? ROOT + 1 + index : -ENOENT;
  }

  getattr(ino) {
    const times = { atime: 0, mtime: 0, ctime: 0 };
    const common = { ino, uid: 0, gid: 0, blksize: 4096, ...times };
    if (ino === ROOT) return { ...common, mode: 0o040755, nlink: 2, size: 0, blocks: 0 };
    const stats = this.#file(ino)?.stat();
    if (stats === undefined) return undefined;
    return { ...common, mode: 0o100644, nlink: 1, size: stats.size, blocks: stats.blocks };
  }

  setattr() {
    return -EOPNOTSUPP;
  }

  open() {
    return 0;
  }

  release() {
    // the files stay open
  }

  read(ino, target, length, offset) {
    return this.#file(ino).read(target, length, offset);
  }

  write(ino, source, length, offset) {
    const { error, short } = this.#faults.of('write');
    if (error !== 0) return error;
    return this.#file(ino).write(source, Math.min(length, short), offset);
  }

  fsync(ino) {
    const { error, loses } = this.#faults.of('fsync');
    if (error === 0) this.#file(ino).synced();
    else if (loses) this.#files.forEach((file) => file.lose());
    return error;
  }

  fallocate() {
    return -EOPNOTSUPP;
  }

  lseek() {
    return -EINVAL;
  }

  readdir(ino) {
    return ino === ROOT ? ['.', '..', ...this.#names] : undefined;
  }

  statfs() {
    return { bsize: 4096, blocks: 1e6, bfree: 1e6, files: this.#names.length, namemax: 255 };
  }
}

const request = { mountpoint, fsname: 'storage', subtype: 'faulty', options: ['rw'] };
const device = new FuseDevice((await mountFuse(request)).fd);
connect(device, { writebackCache: false, passthrough: false });
const log = (message) => process.stderr.write(`${message}\n`);
const storage = new Storage();
const exchange = new Exchange(storage, {
  onlyUser: undefined,
  backingId: undefined,
  counters: new RequestCounters(newRequestCounters(1), 0),
  log,
});
writeSync(1, 'ready\n');
for (;;) {
  const length = device.receive(exchange.request);
  if (length === DISCONNECTED) break;
  // As on a disk, closing a file waits for nothing: the kernel does not ask again.
  const isFlush = exchange.requestView.getUint32(OPCODE_OFFSET, true) === FLUSH;
  const reply = isFlush ? exchange.finish(-ENOSYS) : exchange.handle(length);
  if (reply > 0) device.send(exchange.reply, reply);
  if (storage.isStopping) {
    storage.isStopping = false;
    process.kill(process.pid, 'SIGSTOP');
  }
}
