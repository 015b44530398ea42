/** Completion in the shells themselves. What they are asked comes from the program as well. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/program.js';
import { isMissing } from '../helpers/requirements.js';
import { vmdkfs } from '../helpers/run.js';
import { complete, type Shell } from '../helpers/shells.js';
import { tempFolder } from '../helpers/temp-folder.js';

const SHELLS: readonly Shell[] = ['bash', 'zsh', 'fish'];

/** Lines, and all that is offered for them. */
const EXACT: readonly (readonly [line: string, offered: readonly string[]])[] = [
  ['vmdkfs mou', ['mount']],
  ['vmdkfs inf', ['info']],
  ['vmdkfs mount --tr', ['--transport']],
  ['vmdkfs mount --transport ', ['auto', 'kernel', 'libfuse']],
  ['vmdkfs mount --transport=k', ['kernel']],
  ['vmdkfs mount -o no_pass', ['no_passthrough']],
  ['vmdkfs mount -o ro,no_pass', ['no_passthrough']],
  ['vmdkfs mount -o transport=libfuse,allow_r', ['allow_root']],
  ['vmdkfs mount -o ro,transport=k', ['kernel']],
  ['vmdkfs mount -o ro disk.vmdk ', ['folder', 'other']],
  ['vmdkfs mount --transport kernel disk.vmdk ', ['folder', 'other']],
  ['vmdkfs -o ro disk.vmdk fol', ['folder']],
  ['vmdkfs disk.vmdk ', ['folder', 'other']],
  ['vmdkfs unmount ', ['folder', 'other']],
  ['vmdkfs umount o', ['other']],
  ['vmdkfs create new.vmdk -t mono', ['monolithicFlat', 'monolithicSparse']],
  ['vmdkfs create new.vmdk --subformat seS', ['seSparse']],
  ['vmdkfs create -b dis', ['disk.vmdk']],
  ['vmdkfs create --size ', []],
  ['vmdkfs completion ', ['bash', 'fish', 'zsh']],
  ['vmdkfs help uninfo', []],
  ['vmdkfs help inf', ['info']],
];

const program = buildProgram();
const visible = program.createHelp().visibleCommands(program);

let folder: string;
beforeEach(() => {
  folder = tempFolder();
  for (const name of ['folder', 'other']) mkdirSync(join(folder, name));
  for (const name of ['disk.vmdk', 'app.OVA', 'notes.txt']) writeFileSync(join(folder, name), '');
});

async function offers(shell: Shell, lines: readonly string[]): Promise<string[][]> {
  const { code, stderr, stdout } = await vmdkfs('completion', shell);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const found = await complete(shell, stdout, folder, lines);
  expect(found).toHaveLength(lines.length);
  return found.map((list) => list.toSorted());
}

for (const shell of SHELLS) {
  describe.skipIf(isMissing(`completion in ${shell}`, shell))(shell, () => {
    test('completes commands, options and values', async () => {
      const found = await offers(
        shell,
        EXACT.map(([line]) => line),
      );
      expect(EXACT.map(([line], index) => [line, found[index]])).toEqual(EXACT);
    });

    test('offers commands or an image where nothing is said yet', async () => {
      const [found] = await offers(shell, ['vmdkfs ']);
      const names = visible.flatMap((command) => [command.name(), ...command.aliases()]);
      expect(found).toEqual(expect.arrayContaining([...names, 'disk.vmdk', 'folder']));
    });

    test('offers images and folders for an image', async () => {
      const [images, others] = await offers(shell, ['vmdkfs info ', 'vmdkfs info note']);
      expect(images).toEqual(expect.arrayContaining(['app.OVA', 'disk.vmdk', 'folder', 'other']));
      // An image may have any name, and fish says so from the start.
      if (shell !== 'fish') expect(images).not.toContain('notes.txt');
      expect(others).toEqual(['notes.txt']);
    });

    test('offers every option of every command', async () => {
      const found = await offers(
        shell,
        visible.map((command) => `vmdkfs ${command.name()} --`),
      );
      for (const [index, command] of visible.entries()) {
        const options = program.createHelp().visibleOptions(command);
        const names = options.map(({ long }) => long).filter((long) => long !== undefined);
        expect(found[index], command.name()).toEqual(names.toSorted());
      }
    });
  });
}

test('completion of a shell that there is not fails with 1', async () => {
  const { code, stderr, stdout } = await vmdkfs('completion', 'tcsh');
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^vmdkfs: .*'tcsh'.*bash, zsh, fish/);
});
