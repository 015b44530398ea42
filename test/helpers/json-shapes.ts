/**
 * The shapes of `--json` output as docs/json.md tells them, and whether a value has one. How a shape
 * is written stands in that document.
 */

/** A shape: words for a value, a list of one shape, or an object of shapes. */
export type Shape = string | readonly Shape[] | { readonly [key: string]: Shape };

/** What a document tells. */
export interface Shapes {
  /** By command: each shape that its output can have. */
  readonly outputs: ReadonlyMap<string, readonly Shape[]>;
  /** By name: shapes that others use. */
  readonly parts: ReadonlyMap<string, Shape>;
}

/** @throws SyntaxError for a block that is no JSON; an error for one that stands in no section */
export function parseShapes(document: string): Shapes {
  const outputs = new Map<string, Shape[]>();
  const parts = new Map<string, Shape>();
  let command: string | undefined;
  const pattern = /^## (?<heading>.+)$|^```json (?<name>\w+)\n(?<text>[^]*?)^```$/gm;
  for (const { groups } of document.matchAll(pattern)) {
    const { heading, name, text = '' } = groups ?? {};
    if (heading !== undefined) {
      command = /^vmdkfs (\w+)$/.exec(heading)?.[1];
      continue;
    }
    if (command === undefined || name === undefined) throw new Error(`outside a section: ${text}`);
    const shape = JSON.parse(text) as Shape;
    if (name !== 'output') parts.set(name, shape);
    else outputs.set(command, [...(outputs.get(command) ?? []), shape]);
  }
  return { outputs, parts };
}

/**
 * Why `value` does not have `shape`, beginning with where; undefined where it does.
 *
 * @param seen gets the names of the parts that were met
 */
export function mismatch(
  value: unknown,
  shape: Shape,
  parts: Shapes['parts'],
  seen: Set<string> = new Set<string>(),
  where = 'the output',
): string | undefined {
  if (typeof shape === 'string') return wordsMismatch(value, shape, parts, seen, where);
  if (isList(shape)) {
    const [each = ''] = shape;
    if (!Array.isArray(value)) return `${where}: is no list`;
    return first(
      value.map((member, index) => mismatch(member, each, parts, seen, `${where}[${index}]`)),
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return `${where}: is no object`;
  }
  const keys = new Map(Object.keys(shape).map((key) => [key.replace(/\?$/, ''), key]));
  const unknown = Object.keys(value).find((key) => !keys.has(key));
  if (unknown !== undefined) return `${where}: has ${unknown}, which is not in the document`;
  const members = value as Readonly<Record<string, unknown>>;
  return first(
    [...keys].map(([key, written]) => {
      if (Object.hasOwn(members, key)) {
        return mismatch(members[key], shape[written] ?? '', parts, seen, `${where}.${key}`);
      }
      return written.endsWith('?') ? undefined : `${where}: has no ${key}`;
    }),
  );
}

function isList(shape: Shape): shape is readonly Shape[] {
  return Array.isArray(shape);
}

function first(found: readonly (string | undefined)[]): string | undefined {
  return found.find((each) => each !== undefined);
}

function wordsMismatch(
  value: unknown,
  words: string,
  parts: Shapes['parts'],
  seen: Set<string>,
  where: string,
): string | undefined {
  const reasons = words.split(' | ').map((word) => {
    const part = parts.get(word);
    if (part !== undefined) {
      const met = new Set(seen);
      const reason = mismatch(value, part, parts, met, where);
      if (reason === undefined) for (const name of [...met, word]) seen.add(name);
      return reason;
    }
    const found = value === null ? 'null' : typeof value;
    const isSo = word.startsWith("'") ? `'${String(value)}'` === word : found === word;
    return isSo ? undefined : `${where}: is ${JSON.stringify(value)}, and not ${words}`;
  });
  return reasons.includes(undefined) ? undefined : reasons[0];
}
