/** Links are followed where this user or root has made them. */
import {
  closeSync,
  constants,
  existsSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openLinked } from '../../../src/os/linked-file.js';
import { isMissing } from '../../helpers/requirements.js';
import { tempFolder } from '../../helpers/temp-folder.js';

const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT;
const NOBODY = 65534;

let folder: string;

beforeEach(() => {
  folder = tempFolder();
});

/** A link called `name` to `target`. */
function link(name: string, target: string): string {
  const path = join(folder, name);
  symlinkSync(target, path);
  return path;
}

function append(path: string, text: string): void {
  const fd = openLinked(path, APPEND, 0o600);
  writeSync(fd, text);
  closeSync(fd);
}

test('a file, and links of our own to one, also to one that is made', () => {
  mkdirSync(join(folder, 'a'));
  mkdirSync(join(folder, 'b'));
  link('b/folder', '../a');
  link('second', 'b/folder/../made');
  const first = link('first', join(folder, 'second'));
  append(first, 'one\n');
  // `..` behind the link is the folder that the link leads to.
  expect(readFileSync(join(folder, 'made'), 'utf8')).toBe('one\n');
  append(first, 'two\n');
  append(join(folder, 'made'), 'three\n');
  expect(readFileSync(join(folder, 'made'), 'utf8')).toBe('one\ntwo\nthree\n');
});

test('the links of the kernel to what has no path any more', () => {
  const path = join(folder, 'file');
  const fd = openSync(path, 'w+');
  try {
    rmSync(path);
    append(`/proc/self/fd/${fd}`, 'one ');
    append(`/dev/fd/${fd}`, 'two ');
    append(link('third', `/proc/${process.pid}/fd/${fd}`), 'three');
    const bytes = Buffer.alloc(100);
    expect(bytes.toString('latin1', 0, readSync(fd, bytes, 0, 100, 0))).toBe('one two three');
  } finally {
    closeSync(fd);
  }
  expect(readdirSync(folder)).toEqual(['third']);
});

test('a link that leads round in circles is an error', () => {
  const path = link('circle', 'circle');
  expect(() => openLinked(path, APPEND, 0o600)).toThrow('has too many links to its file');
});

describe.skipIf(isMissing('links of others', 'root'))('a link of another user is refused', () => {
  test('with nothing made or changed', () => {
    const victim = join(folder, 'victim');
    const theirs = link('theirs', 'victim');
    lchownSync(theirs, NOBODY, NOBODY);
    const refusal = 'is a link of user 65534; name the file itself';
    expect(() => openLinked(theirs, APPEND, 0o600)).toThrow(`${theirs}: ${refusal}`);
    expect(existsSync(victim)).toBe(false);
    writeFileSync(victim, '');
    const ours = link('ours', 'theirs');
    expect(() => openLinked(ours, APPEND, 0o600)).toThrow(`${ours}: ${refusal}`);
    expect(() => openLinked(theirs, constants.O_RDWR, 0)).toThrow(refusal);
  });
});
