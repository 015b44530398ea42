/** The texts name tests that show what they say: those have to be there. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const NOTES = readdirSync(join(ROOT, 'native-notes'))
  .filter((name) => name.endsWith('.md') && name !== 'README.md')
  .map((name) => join('native-notes', name));

const DOCS = readdirSync(join(ROOT, 'docs'), { encoding: 'utf8', recursive: true })
  .filter((name) => name.endsWith('.md'))
  .map((name) => join('docs', name));

const TEXTS = ['README.md', 'SECURITY.md', 'native-notes/README.md', ...NOTES, ...DOCS];

/** Files and folders of tests that a text names, as paths from the root. */
function testsIn(text: string): string[] {
  return [...text.matchAll(/(?<![\w/.-])test\/[\w./-]*\w/g)].map(([path]) => path);
}

/** Files that a text links, as paths from the root; addresses and places in the page are none. */
function linksIn(path: string, text: string): string[] {
  const targets = [...text.matchAll(/\]\((?<target>[^)#\s]+)(?:#[^)]*)?\)/g)];
  return targets
    .map((match) => match.groups?.['target'] ?? '')
    .filter((target) => !target.includes('://'))
    .map((target) => join(dirname(path), target));
}

/** Whether a note names a test, or a program that leaves its results in the note, as bench does. */
function hasProof(text: string): boolean {
  const files = testsIn(text).filter((path) => existsSync(join(ROOT, path)));
  return files.some(
    (path) => path.endsWith('.test.ts') || statSync(join(ROOT, path)).isDirectory(),
  );
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

function missing(paths: readonly string[]): string[] {
  return paths.filter((path) => !existsSync(join(ROOT, path)));
}

describe.each(TEXTS)('%s', (path) => {
  test('names tests that there are', () => {
    expect(missing(testsIn(read(path)))).toEqual([]);
  });

  test('links files that there are', () => {
    expect(missing(linksIn(path, read(path)))).toEqual([]);
  });
});

describe.each(NOTES)('the note %s', (path) => {
  test('names a test that shows what it says', () => {
    expect(hasProof(read(path))).toBe(true);
  });

  test('is in the list of notes', () => {
    expect(linksIn('native-notes/README.md', read('native-notes/README.md'))).toContain(path);
  });
});

test('what stands in a text is found', () => {
  expect(
    testsIn('`test/unit/a.test.ts`, `test/model`. See shared/test/x, or test/e2e/b.test.ts.'),
  ).toEqual(['test/unit/a.test.ts', 'test/model', 'test/e2e/b.test.ts']);
  expect(linksIn('docs/a.md', '[b](../b.md#x), [c](https://c), [d](#d)')).toEqual(['b.md']);
  expect(hasProof('`test/unit/none.test.ts`')).toBe(false);
});
