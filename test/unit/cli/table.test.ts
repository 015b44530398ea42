import { describe, expect, test } from 'vitest';
import { formatRow, formatTable } from '../../../src/cli/table.js';

describe('a table', () => {
  test('has columns as wide as what is in them', () => {
    const columns = [
      { title: 'NAME', align: 'left' },
      { title: 'SIZE', align: 'right' },
      { title: 'WHERE', align: 'left' },
    ] as const;
    const lines = formatTable(columns, [
      ['a', '1', '/x'],
      ['größer \u{1F4BE}', '100000', '/a long way'],
      ['short row'],
    ]);
    expect(lines).toEqual([
      'NAME         SIZE  WHERE',
      'a               1  /x',
      'größer \u{1F4BE}   100000  /a long way',
      'short row',
    ]);
  });

  test('keeps each row on its line', () => {
    const lines = formatTable([{ title: 'NAME', align: 'left' }], [['a\nb\u001b[2J']]);
    expect(lines).toEqual(['NAME', 'a?b?[2J']);
  });

  test('that goes on has widths of its own', () => {
    expect(formatRow(['1', '22', '4444'], [3, 2, 3])).toBe('  1 22 4444');
  });
});
