/** The pid file is never written through what somebody else has laid there. */
import { spawnSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { PidFile } from '../../../src/mount/pid-file.js';
import { check } from '../../helpers/run.js';
import { tempFolder } from '../../helpers/temp-folder.js';

let folder: string;
let path: string;
let victim: string;

beforeEach(() => {
  folder = tempFolder();
  path = join(folder, 'server.pid');
  victim = join(folder, 'victim');
});

test('a link under a name that could be known beforehand is not followed', () => {
  writeFileSync(victim, 'secret\n', { mode: 0o600 });
  const file = new PidFile(path);
  const names = [`server.pid.${process.pid}`, 'server.pid.tmp', 'server.pid.new'];
  for (const name of names) symlinkSync('victim', join(folder, name));
  file.write();
  expect(readFileSync(victim, 'utf8')).toBe('secret\n');
  expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`);
  expect(lstatSync(path).isFile()).toBe(true);
  expect(readdirSync(folder).sort()).toEqual([...names, 'server.pid', 'victim'].sort());
  file.remove();
  expect(readdirSync(folder).sort()).toEqual([...names, 'victim'].sort());
});

test('a link in its place is no pid file, wherever it leads', () => {
  const refusal = `${path}: is no pid file; choose another name`;
  const file = new PidFile(path);
  symlinkSync('victim', path);
  expect(() => new PidFile(path)).toThrow(refusal);
  // What it leads to could be the file of a server that is no more.
  const ended = spawnSync('true').pid;
  writeFileSync(victim, `${ended}\n`);
  expect(() => new PidFile(path)).toThrow(refusal);
  expect(() => {
    file.write();
  }).toThrow(refusal);
  writeFileSync(victim, `${process.pid}\n`);
  file.remove();
  expect(readdirSync(folder).sort()).toEqual(['server.pid', 'victim']);
  expect(readFileSync(victim, 'utf8')).toBe(`${process.pid}\n`);
});

test('a FIFO in its place is refused and not waited for', { timeout: 20_000 }, async () => {
  await check('mkfifo', path);
  expect(() => new PidFile(path)).toThrow('is no pid file');
  expect(statSync(path).isFIFO()).toBe(true);
});

test('nothing is left of one that cannot take its place', () => {
  const file = new PidFile(path);
  mkdirSync(join(folder, 'elsewhere'));
  const other = new PidFile(join(folder, 'elsewhere'.padEnd(250, 'x')));
  expect(() => {
    other.write();
  }).toThrow();
  expect(readdirSync(folder)).toEqual(['elsewhere']);
  file.write();
  expect(readdirSync(folder).sort()).toEqual(['elsewhere', 'server.pid']);
});
