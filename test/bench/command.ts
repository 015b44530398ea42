import { messageOf } from './programs.js';

/** Aborted, with what happened as its reason, when somebody wants the command to end. */
export function abortOnSignals(): AbortController {
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interruption.abort(new Error(`${signal}: interrupted`));
    });
  }
  return interruption;
}

/** Runs the command `name`; where it fails that is said in a line, and the exit code is 1. */
export async function runCommand(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    console.error(`${name}: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}
