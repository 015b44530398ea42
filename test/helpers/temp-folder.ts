import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A new folder, and what removes it. */
export function makeTempFolder(): { readonly folder: string; readonly remove: () => void } {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'vmdkfs-test-')));
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  return { folder, remove };
}

/** A folder of the running test's own, removed when the test has finished. */
export function tempFolder(): string {
  const { folder, remove } = makeTempFolder();
  onTestFinished(remove);
  return folder;
}
