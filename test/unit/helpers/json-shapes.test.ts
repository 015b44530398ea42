import { describe, expect, test } from 'vitest';
import { mismatch, parseShapes, type Shape } from '../../helpers/json-shapes.js';

const PARTS = new Map<string, Shape>([
  ['Part', { name: 'string', 'more?': 'Part' }],
  ['Words', ['string']],
]);

describe('a shape', () => {
  test.each<[unknown, Shape]>([
    [1, 'number'],
    [null, 'string | null'],
    ['rw', "'ro' | 'rw'"],
    [[], ['number']],
    [[1, 2], ['number']],
    [{ a: 1 }, { a: 'number', 'b?': 'string' }],
    [{ name: 'x', more: { name: 'y' } }, 'Part'],
    [['x'], 'Words | null'],
  ])('fits: %j is %j', (value, shape) => {
    expect(mismatch(value, shape, PARTS)).toBeUndefined();
  });

  test.each<[unknown, Shape, string]>([
    ['1', 'number', 'the output: is "1", and not number'],
    [undefined, 'null', 'the output: is undefined, and not null'],
    ['x', "'ro' | 'rw'", "the output: is \"x\", and not 'ro' | 'rw'"],
    [{ 0: 1 }, ['number'], 'the output: is no list'],
    [[1, '2'], ['number'], 'the output[1]: is "2", and not number'],
    [[], { a: 'number' }, 'the output: is no object'],
    [{ a: 1, b: 2 }, { a: 'number' }, 'the output: has b, which is not in the document'],
    [{}, { a: 'number' }, 'the output: has no a'],
    [{ name: 'x', more: { name: 1 } }, 'Part', 'the output.more.name: is 1, and not string'],
    [1, 'Unknown', 'the output: is 1, and not Unknown'],
  ])('does not fit: %j is not %j', (value, shape, reason) => {
    expect(mismatch(value, shape, PARTS)).toBe(reason);
  });

  test('tells which parts were met', () => {
    const seen = new Set<string>();
    expect(mismatch([['x'], null], ['Words | Part | null'], PARTS, seen)).toBeUndefined();
    expect([...seen]).toEqual(['Words']);
  });
});

test('a document has the outputs of its commands, and parts', () => {
  const block = (name: string, text: string): string => `\`\`\`json ${name}\n${text}\n\`\`\`\n`;
  const document = `# x\n\n## vmdkfs a\n\n${block('output', '{"x": "Part"}')}\n${block('Part', '["number"]')}\n## vmdkfs b\n${block('output', '"string"')}${block('output', '[1]')}`;
  expect(parseShapes(document)).toEqual({
    outputs: new Map<string, unknown>([
      ['a', [{ x: 'Part' }]],
      ['b', ['string', [1]]],
    ]),
    parts: new Map([['Part', ['number']]]),
  });
  expect(() => parseShapes(block('output', '1'))).toThrow(/outside a section/);
});
