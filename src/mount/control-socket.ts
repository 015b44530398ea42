/**
 * How a running server is found, asked and waited for: a Unix socket named after the device number
 * of its mount, in a folder that belongs to the mount's owner.
 *
 * Whoever connects and says nothing is told, in one line of JSON, how the image was closed; a
 * connection that ends without a line means the server died. Whoever sends a line, `{"ask":"status"}`,
 * gets one line for an answer, and the connection ends.
 */
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
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

function socketName(device: string): string {
  return `${device.replace(':', '-')}.sock`;
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
    const path = join(makeRuntimeFolder(), socketName(device));
    // The device number is ours as long as we are mounted: what stands there is of a dead server.
    rmSync(path, { force: true });
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

/** Asks the server of a mount for `what`; waits for each step ANSWER_MS at most. */
export async function askServer(entry: MountEntry, what: string): Promise<Answer> {
  const connected = await reach(entry);
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
  if (typeof again === 'string') return { kind: again };
  again.destroy();
  return { kind: 'silent' };
}

/** A connection to the server of a mount, or why there is none. */
async function reach(entry: MountEntry): Promise<Socket | Failure> {
  let failure: Failure = 'absent';
  for (const folder of runtimeFolders(entry.userId)) {
    const connected = await connectIn(folder, entry);
    if (typeof connected !== 'string') return connected;
    if (connected !== 'absent') failure = connected;
  }
  return failure;
}

async function connectIn(folder: string, entry: MountEntry): Promise<Socket | Failure> {
  try {
    if (!isFolderOf(folder, entry.userId)) return 'absent';
  } catch (error) {
    return failureOf(error);
  }
  return connectTo(join(folder, socketName(entry.device)));
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

/**
 * Connects to the server of a mount.
 *
 * @returns what settles with its report when it has closed the image (undefined when it died
 *   without one), or undefined where no server answers
 */
export async function connectControl(
  entry: MountEntry,
): Promise<{ closed: Promise<CloseReport | undefined>; leave: () => void } | undefined> {
  const socket = await reach(entry);
  if (typeof socket === 'string') return undefined;
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => (text += chunk));
  const closed = new Promise<CloseReport | undefined>((resolve) => {
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      resolve(text.endsWith('\n') ? (JSON.parse(text) as CloseReport) : undefined);
    });
  });
  return { closed, leave: () => socket.destroy() };
}
