import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { factsOf } from '../../src/cli/command-facts.js';
import { formatManual } from '../../src/cli/manual.js';
import { buildProgram } from '../../src/cli/program.js';
import { isMissing } from '../helpers/requirements.js';
import { check, run } from '../helpers/run.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const { man } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { man: [string] };
const PAGE = join(ROOT, man[0]);

/** The page as it is read, without line ends, hyphenation or overstriking. */
async function rendered(): Promise<string> {
  const text = await check('groff', '-man', '-Tascii', '-P-cbou', '-rHY=0', '-rLL=2000n', PAGE);
  return text.replaceAll(/\s+/g, ' ');
}

test('the built page is that of the program', () => {
  expect(readFileSync(PAGE, 'utf8')).toBe(formatManual(factsOf(buildProgram())));
});

describe.skipIf(isMissing('the manual page', 'groff'))('the manual page', () => {
  test('is without warnings', async () => {
    const outcome = await run('groff', ['-man', '-Wall', '-ww', '-z', '-Tutf8', PAGE]);
    expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('has every command, argument, option, choice and exit code', async () => {
    const page = await rendered();
    const program = buildProgram();
    const help = program.createHelp();
    const words: string[] = [];
    for (const command of help.visibleCommands(program)) {
      words.push(command.name(), ...command.aliases(), command.description());
      for (const { description } of command.registeredArguments) words.push(description);
      for (const option of help.visibleOptions(command)) {
        words.push(option.short ?? '', option.long ?? '', option.description);
        words.push(...(option.argChoices ?? []));
      }
    }
    words.push('0 done, 1 wrong usage', '6 the image is in use');
    const missing = words.filter((word) => !page.includes(word));
    expect(words.length).toBeGreaterThan(100);
    expect(missing).toEqual([]);
  });
});

test('what would be a request or an escape of roff is text', () => {
  const facts = factsOf(buildProgram());
  const odd = { ...facts, description: ".so /etc/passwd\n'br\nC:\\new and --long" };
  const lines = formatManual(odd).split('\n');
  expect(lines).toContain('\\&.so /etc/passwd');
  expect(lines).toContain("\\&'br");
  expect(lines).toContain('C:\\enew and \\-\\-long');
});
