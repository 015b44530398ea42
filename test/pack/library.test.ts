/** The package as a library: in a fresh folder, as its users have it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { run, type Outcome } from '../helpers/run.js';
import { makeTempFolder } from '../helpers/temp-folder.js';
import { runThere, tarball } from './machine.js';

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc');

let folder: string;
beforeAll(async () => {
  const made = makeTempFolder();
  folder = made.folder;
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'user', type: 'module' }));
  const { code, stderr } = await runThere(folder, 'npm', ['install', tarball()]);
  expect(code, stderr).toBe(0);
  return made.remove;
});

/** Checks a program with the strictest settings and nothing but the package's own types. */
function typeCheck(source: string): Promise<Outcome> {
  writeFileSync(join(folder, 'use.ts'), source);
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    module: 'nodenext',
    target: 'es2022',
    types: [],
    noEmit: true,
  };
  const config = { compilerOptions, files: ['use.ts'] };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  return run(process.execPath, [TSC, '-p', '.'], { cwd: folder });
}

test('the example of README runs as it stands there', async () => {
  const [, example = ''] = /## As a library\n[^]*?```js\n([^]*?)```/.exec(README) ?? [];
  expect(example).toContain("from 'vmdkfs'");
  writeFileSync(join(folder, 'example.js'), example);
  expect(await run(process.execPath, ['example.js'], { cwd: folder })).toEqual({
    code: 0,
    stdout: '67108864 bytes, bootbootbootboot, data from byte 0 on\n',
    stderr: '',
  });
});

test('an error of an image is a VmdkError, and what the package has inside is not to be had', async () => {
  writeFileSync(join(folder, 'text.vmdk'), 'no image');
  const source = `
    import { listDisks, openImage, VmdkError } from 'vmdkfs';
    try { openImage('text.vmdk'); } catch (error) {
      console.log(error instanceof VmdkError, error.code, listDisks('text.vmdk'));
    }
    await import('vmdkfs/dist/block/open-image.js').catch((error) => console.log(error.code));`;
  writeFileSync(join(folder, 'errors.js'), source);
  const { stdout } = await run(process.execPath, ['errors.js'], { cwd: folder });
  expect(stdout).toBe('true VMDK_NOT_VMDK undefined\nERR_PACKAGE_PATH_NOT_EXPORTED\n');
});

test('programs in TypeScript are checked against its types', async () => {
  const good = await typeCheck(`
    import { createImage, listDisks, openImage, VmdkError } from 'vmdkfs';
    import type { BlockDevice, CreateOptions, ImageDevice, OpenOptions, VmdkErrorCode } from 'vmdkfs';
    const options: OpenOptions = { readOnly: false, lock: false, allowOutside: true };
    const made: CreateOptions = { size: 512, subformat: 'seSparse', adapter: 'ide' };
    export const size: number = createImage('a.vmdk', made);
    const image: ImageDevice = openImage('a.vmdk', options);
    const device: BlockDevice = image;
    device.write(new Uint8Array(1), 0, 1, 0);
    export const notices: readonly string[] = image.notices;
    export const disks: readonly string[] | undefined = listDisks('a.ova');
    export const code = (error: VmdkError): VmdkErrorCode => error.code;
  `);
  expect(good).toEqual({ code: 0, stdout: '', stderr: '' });
  const bad = await typeCheck(`
    import { createImage, openImage } from 'vmdkfs';
    openImage(42);
    createImage('a.vmdk', { size: 512, subformat: 'floppy' });
    openImage('a.vmdk').write('text', 0, 4, 0);
    openImage('a.vmdk', { isMerge: true });
    createImage('a.vmdk', { size: 512, permissions: { readOnly: false } });
  `);
  expect(bad.code).not.toBe(0);
  expect(bad.stdout.match(/use\.ts\(\d+/g)).toEqual(
    [3, 4, 5, 6, 7].map((line) => `use.ts(${line}`),
  );
});
