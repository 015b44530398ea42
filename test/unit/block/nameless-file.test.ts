import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openNameless, openUnlinked } from '../../../src/block/nameless-file.js';
import { tempFolder } from '../../helpers/temp-folder.js';

/** The process id of a program that has ended. */
function deadProcess(): number {
  return spawnSync('true').pid;
}

describe.each([
  ['openNameless', openNameless],
  ['openUnlinked', openUnlinked],
])('%s', (_, open) => {
  test('opens an empty file for reading and writing that only its owner may use', () => {
    const folder = tempFolder();
    const fd = open(folder);
    try {
      expect(readdirSync(folder)).toEqual([]);
      const { mode, nlink, size } = fstatSync(fd);
      expect({ mode: mode & 0o777, nlink, size }).toEqual({ mode: 0o600, nlink: 0, size: 0 });
      writeSync(fd, 'hello', 10_000);
      const bytes = Buffer.alloc(5);
      expect(readSync(fd, bytes, 0, 5, 10_000)).toBe(5);
      expect(bytes.toString()).toBe('hello');
    } finally {
      closeSync(fd);
    }
  });

  test('says which folder is not there', () => {
    const missing = join(tempFolder(), 'missing');
    expect(() => open(missing)).toThrow(missing);
  });
});

describe('openUnlinked', () => {
  test('removes what processes left that were killed, and nothing else', () => {
    const folder = tempFolder();
    const name = (pid: number): string => `.vmdkfs-${pid}-0123456789ab`;
    const dead = deadProcess();
    const kept = [
      [name(process.pid), ''],
      [`.vmdkfs-${dead}-notours`, ''],
      [`.vmdkfs-${dead}-ffffffffffff`, 'not empty'],
    ] as const;
    for (const [file, text] of [...kept, [name(dead), ''] as const]) {
      writeFileSync(join(folder, file), text);
    }
    mkdirSync(join(folder, `.vmdkfs-${dead}-aaaaaaaaaaaa`));
    closeSync(openUnlinked(folder));
    const names = [...kept.map(([file]) => file), `.vmdkfs-${dead}-aaaaaaaaaaaa`];
    expect(readdirSync(folder).sort()).toEqual(names.sort());
  });
});
