import { expect, test } from 'vitest';
import { withResult } from '../../bench/note.js';

const BEGIN = '<!-- bench:begin -->';
const END = '<!-- bench:end -->';

test('puts a result between the markers, in place of the last one', () => {
  const note = `# Speed\n\n${BEGIN}\nold\n${END}\n\nMore.\n`;
  const once = withResult(note, '| new |\n');
  expect(once).toBe(`# Speed\n\n${BEGIN}\n\n| new |\n\n${END}\n\nMore.\n`);
  expect(withResult(once, '| new |\n')).toBe(once);
});

test.each([
  ['no markers', '# Speed\n'],
  ['no end', `${BEGIN}\n`],
  ['no begin', `${END}\n`],
  ['the end first', `${END}\n${BEGIN}\n`],
  ['two of them', `${BEGIN}\n${BEGIN}\n${END}\n`],
  ['a marker within a line', `see ${BEGIN}\n${END}\n`],
])('refuses a note with %s', (_, note) => {
  expect(() => withResult(note, 'new')).toThrow(/bench:begin.*bench:end/);
});
