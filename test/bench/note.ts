const BEGIN = '<!-- bench:begin -->';
const END = '<!-- bench:end -->';

/**
 * The text of a note with `result` between its marker lines, in place of what stood there.
 *
 * @throws Error where the text does not have both marker lines, once each and in their order
 */
export function withResult(text: string, result: string): string {
  const lines = text.split('\n');
  const begin = lines.indexOf(BEGIN);
  const end = lines.indexOf(END);
  const isOnce = begin === lines.lastIndexOf(BEGIN) && end === lines.lastIndexOf(END);
  if (begin < 0 || end < begin || !isOnce) {
    throw new Error(`the lines ${BEGIN} and ${END} have to stand there once, in this order`);
  }
  return [...lines.slice(0, begin + 1), '', result.trim(), '', ...lines.slice(end)].join('\n');
}
