/**
 * How a running server is found, asked and waited for: a Unix socket in a folder that belongs to the
 * mount's owner, named after the device number of its mount, the time and its process. The kernel
 * gives a device number to the next mount while the server of the last one still closes its image:
 * each has a socket of its own, and the latest is that of the mount there is.
 *
 * Whoever connects and says nothing is told, in one line of JSON, how the image was closed; a
 * connection that ends without a line means the server died. Whoever sends a line, `{"ask":"status"}`,
 * gets one line for an answer, and the connection ends.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { chmodSync, readdirSync, rmSync } from '../os/host-fs.js';
import { describeError } from '../errno.js';
import type { MountEntry } from '../os/mount-table.js';
import { isFolderOf, makeRuntimeFolder, runtimeFolders } from './runtime-folder.js';

/** How long either end waits for what the other has begun to say, milliseconds. */
export const ANSWER_MS = 5000;

/** Longest line that a client may send, in characters. */
const QUESTION_MAX = 256;

/** Longest line that a server may answer, in characters. */
const ANSWER_MAX = 64 * 1024;

/** Clients at a time. */
const CLIENTS_MAX = 256;

/** How an image was closed. */
export interface CloseReport {
  /** Why it could not be closed cleanly. */
  readonly error?: string;
  /** What the user should know all the same. */
  readonly notice?: string;
}

/** What can be asked for, and what answers: anything that JSON can say. */
export type Answers = Readonly<Record<string, () => unknown>>;

/** A socket of a mount, by its file. */
interface SocketFile {
  readonly path: string;
  /** When its server began to listen, nanoseconds since the machine was started. */
  readonly since: bigint;
  /** The server's process. */
  readonly pid: number;
}

function deviceName(device: string): string {
  return device.replace(':', '-');
}

/** The path of a new socket for the mount with `device`. */
function newSocketPath(folder: string, device: string): string {
  const name = [deviceName(device), process.hrtime.bigint(), process.pid, 'sock'].join('.');
  return join(folder, name);
}

/** The sockets of mounts that have or had `device`, the latest first. */
function socketsOf(folder: string, device: string): SocketFile[] {
  const name = /^(?<device>.+)\.(?<since>\d+)\.(?<pid>\d+)\.sock$/;
  const found = readdirSync(folder).flatMap((file): SocketFile[] => {
    const { device: of, pid, since } = name.exec(file)?.groups ?? {};
    if (of !== deviceName(device) || since === undefined) return [];
    return [{ path: join(folder, file), since: BigInt(since), pid: Number(pid) }];
  });
  return found.sort((a, b) => (a.since > b.since ? -1 : 1));
}

/** The server's end: open while the disk is mounted. */
export class ControlServer {
  readonly #server: Server;
  readonly #clients: Set<Socket>;
  readonly #path: string;

  private constructor(server: Server, clients: Set<Socket>, path: string) {
    this.#server = server;
    this.#clients = clients;
    this.#path = path;
  }

  /**
   * Starts listening for the mount with `device`, which this user made.
   *
   * @throws where the folder cannot be made, or belongs to somebody else
   */
  static async listen(device: string, answers: Answers): Promise<ControlServer> {
    const folder = makeRuntimeFolder();
    await removeDead(folder, device);
    const path = newSocketPath(folder, device);
    const clients = new Set<Socket>();
    const server = createServer((socket) => {
      clients.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => clients.delete(socket));
      hear(socket, (line) => {
        clients.delete(socket);
        socket.write(`${JSON.stringify(answerTo(line, answers))}\n`);
        socket.destroySoon();
      });
    });
    server.maxConnections = CLIENTS_MAX;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    return new ControlServer(server, clients, path);
  }

  /** Tells all who wait how the image was closed, and ends. */
  async report(report: CloseReport): Promise<void> {
    rmSync(this.#path, { force: true });
    this.#server.close();
    const line = `${JSON.stringify(report)}\n`;
    await Promise.all(
      [...this.#clients].map(
        (socket) =>
          new Promise<void>((resolve) =>
            socket.end(line, () => {
              resolve();
            }),
          ),
      ),
    );
  }
}

/** The device number is ours as long as we are mounted: servers that had it are closing, or dead. */
async function removeDead(folder: string, device: string): Promise<void> {
  for (const { path } of socketsOf(folder, device)) {
    const connected = await connectTo(path);
    if (typeof connected !== 'string') connected.destroy();
    else if (connected === 'refused') rmSync(path, { force: true });
  }
}

/** Hands over the first line that a client sends; one that is too long or too slow is cut off. */
function hear(socket: Socket, heard: (line: string) => void): void {
  let text = '';
  let limit: NodeJS.Timeout | undefined;
  socket.setEncoding('utf8');
  socket.on('close', () => {
    clearTimeout(limit);
  });
  const listen = (chunk: string): void => {
    text += chunk;
    limit ??= setTimeout(() => socket.destroy(), ANSWER_MS);
    const end = text.indexOf('\n');
    if (end < 0 ? text.length <= QUESTION_MAX : false) return;
    socket.off('data', listen);
    if (end < 0 || end > QUESTION_MAX) socket.destroy();
    else heard(text.slice(0, end));
  };
  socket.on('data', listen);
}

function answerTo(line: string, answers: Answers): unknown {
  try {
    const asked = JSON.parse(line) as { ask?: unknown } | null;
    const name = String(asked?.ask);
    const answer = Object.hasOwn(answers, name) ? answers[name] : undefined;
    return answer === undefined ? { error: 'nothing that can be asked for' } : answer();
  } catch (error) {
    return { error: describeError(error) };
  }
}

/** Why a server cannot be talked to: nobody listens, there is no socket, it is not ours, it is busy. */
type Failure = 'absent' | 'forbidden' | 'refused' | 'silent';

/** What became of a question. */
export type Answer = { readonly kind: 'line'; readonly line: string } | { readonly kind: Failure };

/** A server, or why there is none to talk to; `pid` where its socket is known. */
interface Contact {
  readonly connected: Socket | Failure;
  readonly pid: number | undefined;
}

/** Asks the server of a mount for `what`; waits for each step ANSWER_MS at most. */
export async function askServer(entry: MountEntry, what: string): Promise<Answer> {
  const { connected } = await reach(entry);
  if (typeof connected === 'string') return { kind: connected };
  const line = await new Promise<string | undefined>((resolve) => {
    let text = '';
    const limit = setTimeout(() => {
      resolve(undefined);
    }, ANSWER_MS);
    connected.setEncoding('utf8');
    connected.on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n') || text.length > ANSWER_MAX) connected.destroy();
    });
    connected.on('error', () => connected.destroy());
    connected.on('close', () => {
      clearTimeout(limit);
      const end = text.indexOf('\n');
      resolve(end < 0 ? undefined : text.slice(0, end));
    });
    connected.write(`${JSON.stringify({ ask: what })}\n`);
  });
  connected.destroy();
  if (line !== undefined) return { kind: 'line', line };
  // One that dies meanwhile closes the connection as well.
  const again = await reach(entry);
  if (typeof again.connected === 'string') return { kind: again.connected };
  again.connected.destroy();
  return { kind: 'silent' };
}

/** A connection to the server of a mount, or why there is none. */
async function reach(entry: MountEntry): Promise<Contact> {
  let contact: Contact = { connected: 'absent', pid: undefined };
  for (const folder of runtimeFolders(entry.userId)) {
    const found = await reachIn(folder, entry);
    if (typeof found.connected !== 'string') return found;
    if (found.connected !== 'absent') contact = found;
  }
  return contact;
}

async function reachIn(folder: string, { device, userId }: MountEntry): Promise<Contact> {
  try {
    if (isFolderOf(folder, userId)) {
      for (const { path, pid } of socketsOf(folder, device)) {
        const connected = await connectTo(path);
        // One that is gone since the folder was read was of an earlier mount.
        if (connected !== 'absent') return { connected, pid };
      }
    }
    return { connected: 'absent', pid: undefined };
  } catch (error) {
    return { connected: failureOf(error), pid: undefined };
  }
}

const FAILURES: Readonly<Record<string, Failure>> = {
  EACCES: 'forbidden',
  EPERM: 'forbidden',
  ECONNREFUSED: 'refused',
  ENOENT: 'absent',
};

function failureOf(error: unknown): Failure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return FAILURES[code] ?? 'silent';
}

function connectTo(path: string): Promise<Socket | Failure> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const limit = setTimeout(() => {
      socket.destroy();
      resolve('silent');
    }, ANSWER_MS);
    const failed = (error: Error): void => {
      clearTimeout(limit);
      resolve(failureOf(error));
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(limit);
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** A server that is waited for. */
export interface Waiting {
  /** The server's process. */
  readonly pid: number | undefined;
  /** Settles with its report when it has closed the image; undefined when it died without one. */
  readonly closed: Promise<CloseReport | undefined>;
  /** Waits no more. */
  leave(): void;
}

/** Why nobody is waited for, and the server's process where that is known. */
export interface NotWaiting {
  readonly failure: Failure;
  readonly pid: number | undefined;
}

/** Whether the server of a mount has left its socket without closing it: it has died. */
export async function isRefused(entry: MountEntry): Promise<boolean> {
  const { connected } = await reach(entry);
  if (typeof connected === 'string') return connected === 'refused';
  connected.destroy();
  return false;
}

/** Connects to the server of a mount, to wait until it has closed the image. */
export async function connectControl(entry: MountEntry): Promise<Waiting | NotWaiting> {
  const { connected: socket, pid } = await reach(entry);
  if (typeof socket === 'string') return { failure: socket, pid };
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => (text += chunk));
  const closed = new Promise<CloseReport | undefined>((resolve) => {
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      resolve(text.endsWith('\n') ? (JSON.parse(text) as CloseReport) : undefined);
    });
  });
  return { pid, closed, leave: () => socket.destroy() };
}
