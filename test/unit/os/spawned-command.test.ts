import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { pathOfBytes } from '../../../src/binary/path-text.js';
import { runProgram } from '../../../src/os/program.js';
import { spawnedCommand } from '../../../src/os/spawned-command.js';

/** Every byte that a word can have. */
const ALL = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1));

describe('a command', () => {
  test('is started as it is where its words are text', () => {
    const command = spawnedCommand('ls', ['-l', 'café $(x)']);
    expect(command).toMatchObject({ program: 'ls', args: ['-l', 'café $(x)'] });
    expect(command.isMissing(127)).toBe(false);
  });

  test('gets its words byte by byte where they are not', () => {
    const words = [ALL, Buffer.from('%s \\101 "$(x)" \'\n'), Buffer.from('\xff\n\n', 'latin1')];
    const { args, program } = spawnedCommand('printf', ['%s|', ...words.map(pathOfBytes)]);
    const separated = words.flatMap((word) => [word, Buffer.from('|')]);
    expect(execFileSync(program, args)).toEqual(Buffer.concat(separated));
  });

  test('that is not installed is none, whatever its words are', async () => {
    for (const word of ['text', '\udcff']) {
      expect(await runProgram('vmdkfs-no-such-program', [word])).toBeUndefined();
    }
    expect(await runProgram('false', ['\udcff'])).toMatchObject({ succeeded: false });
  });
});
