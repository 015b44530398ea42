import { describe, expect, test } from 'vitest';
import { parseDescriptor } from '../../../src/vmdk/descriptor.js';
import { firstWriteChanges } from '../../../src/vmdk/first-write.js';

const OLD = 'aaaaaaaa-2222-4333-8444-555555555555';
const NEW = { cid: 0x0badcafe, modification: 'bbbbbbbb-2222-4333-8444-555555555555' };

function textOf(cid: string, space = 0): string {
  return `# Disk DescriptorFile\nversion=1\nCID=${cid}\n${'#'.repeat(space)}\nddb.uuid.modification="${OLD}"\nend\n`;
}

function changesOf(text: string, offset = 512): { start: number; text: string }[] {
  return firstWriteChanges(parseDescriptor(text, 'a'), NEW, { offset, room: 10240 }, 'a');
}

function applied(text: string, changes: readonly { start: number; text: string }[]): string {
  return changes.reduce(
    (before, { start, text: insert }) =>
      before.slice(0, start) + insert + before.slice(start + insert.length),
    text,
  );
}

const wanted = (space = 0): string => textOf('0badcafe', space).replace(OLD, NEW.modification);

describe('what the first write changes', () => {
  test('is one write where CID and modification share a sector', () => {
    const text = textOf('12345678');
    const changes = changesOf(text);
    expect(changes).toHaveLength(1);
    expect(applied(text, changes)).toBe(wanted());
  });

  test('is two where they do not', () => {
    const text = textOf('12345678', 600);
    const changes = changesOf(text);
    expect(changes.map(({ text: { length } }) => length)).toEqual([8, 36]);
    expect(applied(text, changes)).toBe(wanted(600));
  });

  test('depends on where the descriptor begins in its file', () => {
    const text = textOf('12345678', 300);
    expect(changesOf(text, 512)).toHaveLength(1);
    expect(changesOf(text, 512 + 400)).toHaveLength(2);
  });

  test.each(['1234567890', '0x12345678', '9999999999999999badcafe'])(
    'moves nothing behind a CID of %j, which leaves blanks',
    (cid) => {
      const text = textOf(cid);
      const after = applied(text, changesOf(text));
      expect(after).toHaveLength(text.length);
      expect(after.replaceAll(/ +$/gm, '')).toBe(wanted());
    },
  );

  test.each(['', '1', 'text'])('has all of the text behind a CID of %j, which moves', (cid) => {
    const text = textOf(cid);
    expect(applied(text, changesOf(text)).startsWith(wanted())).toBe(true);
  });

  test('leaves what is no UUID as it is', () => {
    const text = textOf('12345678').replace(OLD, 'unknown');
    expect(changesOf(text)).toEqual([{ start: text.indexOf('12345678'), text: '0badcafe' }]);
  });
});
