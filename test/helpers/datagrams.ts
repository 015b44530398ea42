import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { until } from './until.js';

/** Receives datagrams on a Unix socket, which Node cannot; needs python3. */
const PROGRAM = `
import socket, sys
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1].replace('@', chr(0), 1) if sys.argv[1][0] == '@' else sys.argv[1])
print('bound', flush=True)
while True:
    print(repr(receiver.recv(65536).decode()), flush=True)
`;

/** What came in on a Unix socket, in the notation of Python. */
export class Datagrams {
  text = '';

  private constructor() {
    // made by \`on\`
  }

  /** Starts to receive on `path`; one that begins with `@` is abstract. */
  static async on(path: string): Promise<Datagrams> {
    const child = spawn('python3', ['-c', PROGRAM, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const datagrams = new Datagrams();
    child.stdout.setEncoding('utf8').on('data', (text: string) => (datagrams.text += text));
    await once(child.stdout, 'data');
    return datagrams;
  }

  /** Waits for a datagram with `text` in it. */
  async waitFor(text: string): Promise<void> {
    await until(`${text} came in`, 90_000, () => this.text.includes(text));
  }
}
