/**
 * How a running server is found and waited for: a Unix socket named after the device number of its
 * mount, in a folder that belongs to the mount's owner. Whoever connects is told, in one line of
 * JSON, how the image was closed; a connection that ends without a line means the server died.
 */
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { MountEntry } from '../os/mount-table.js';
import { makeRuntimeFolder, runtimeFolder } from './runtime-folder.js';

/** How an image was closed; `error` is why it could not be closed cleanly. */
export interface CloseReport {
  readonly error?: string;
}

function socketPath(userId: number, device: string): string {
  return join(runtimeFolder(userId), `${device.replace(':', '-')}.sock`);
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
  static async listen(device: string): Promise<ControlServer> {
    const userId = process.getuid?.() ?? 0;
    makeRuntimeFolder();
    const path = socketPath(userId, device);
    // The device number is ours as long as we are mounted: what stands there is of a dead server.
    rmSync(path, { force: true });
    const clients = new Set<Socket>();
    const server = createServer((socket) => {
      clients.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => clients.delete(socket));
    });
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

/**
 * Connects to the server of a mount.
 *
 * @returns what settles with its report when it has closed the image (undefined when it died
 *   without one), or undefined where no server answers
 */
export async function connectControl(
  entry: MountEntry,
): Promise<{ closed: Promise<CloseReport | undefined>; leave: () => void } | undefined> {
  const socket = connect(socketPath(entry.userId, entry.device));
  const isConnected = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => {
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
  if (!isConnected) return undefined;
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
