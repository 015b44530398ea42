/** Tables for people: columns as wide as what is in them, two spaces between. */
import { printable } from '../errno.js';

/** Width of the cells of a list of ranges. */
const RANGE_WIDTH = 16;

/** A column: its title, and on which side its text stands. */
export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

/**
 * The lines of a table, its titles first. Control characters are replaced, so that each row is a
 * line. Nothing stands behind the last word of a line.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string[] {
  const cells = [columns.map(({ title }) => title), ...rows].map((row) => row.map(printable));
  const widths = columns.map((_, index) =>
    Math.max(...cells.map((row) => lengthOf(row[index] ?? ''))),
  );
  return cells.map((row) =>
    columns
      .map(({ align }, index) => pad(row[index] ?? '', widths[index] ?? 0, align))
      .join('  ')
      .trimEnd(),
  );
}

/** One row of a table whose columns have a width of their own, for tables that go on and on. */
export function formatRow(cells: readonly string[], widths: readonly number[]): string {
  return cells.map((cell, index) => pad(cell, widths[index] ?? 0, 'right')).join(' ');
}

/** A row of a list of ranges, its cells of one width, as `qemu-img map` prints them. */
export function formatRange(...cells: readonly string[]): string {
  return cells
    .map((cell) => cell.padEnd(RANGE_WIDTH))
    .join('')
    .trimEnd();
}

/** A place or a length in such a list. */
export function hex(bytes: number): string {
  return `0x${bytes.toString(16)}`;
}

function pad(text: string, width: number, align: Column['align']): string {
  const spaces = ' '.repeat(Math.max(0, width - lengthOf(text)));
  return align === 'left' ? text + spaces : spaces + text;
}

/** Characters, not the words of UTF-16. */
function lengthOf(text: string): number {
  return Array.from(text).length;
}
