/** Damage to the text of a descriptor: words, lines, characters. */
import fc from 'fast-check';
import type { Edit } from './edits.js';
import type { TextPlace } from './seed-places.js';

type Change = (lines: string[]) => void;

const NUMBERS = [
  ...['0', '1', '8', '511', '3000', '4096', '2147483648', '4294967295', '4294967296'],
  ...['17592186044415', '17592186044416', '9007199254740991', '9999999999999999'],
  ...['99999999999999999999999', '-1', '1e9', '0x10', '1.5', '', 'NaN', '00000000000000001'],
];

const WORDS = [
  ...['RW', 'RDONLY', 'NOACCESS', 'rw', 'FLAT', 'SPARSE', 'ZERO', 'VMFS', 'VMFSSPARSE', 'SESPARSE'],
  ...['VSANSPARSE', 'VMFSRAW', 'VMFSRDM', 'OTHER', '#', '"', '""', '=', '==', '\t', '\v', '\u00a0'],
  ...['CID=', 'parentCID=ffffffff', 'parentCID=0badcafe', 'CID=123456789', 'CID=xyz', 'CID=1'],
  ...['encoding="UTF-16LE"', 'encoding="utf-16be"', 'encoding="GBK"', 'encoding="Shift_JIS"'],
  ...['encoding="no such thing"', 'encoding="iso-2022-jp"', 'encoding="\u00ff"', 'version=3'],
  ...['changeTrackPath="x"', 'keyID="k"', 'ddb.iofilters = "vmcrypt"', 'ddb.longContentID = "0"'],
  ...['parentFileNameHint=""', 'parentFileNameHint="disk.vmdk"', 'parentFileNameHint="base.vmdk"'],
];

/** Names that lead elsewhere, or nowhere; `outside` is beside the image's folder. */
const NAMES = [
  ...[
    'disk.vmdk',
    'base.vmdk',
    'middle.vmdk',
    'disk-s001.vmdk',
    'disk-flat.vmdk',
    'base-flat.vmdk',
  ],
  ...['../outside/secret.raw', '..\\outside\\secret.raw', 'link.raw', 'C:\\outside\\secret.raw'],
  ...['/etc/passwd', '/dev/zero', '/proc/self/mem', '/proc/self/fd/0', '\\\\.\\PhysicalDrive0'],
  ...['.', '..', './', 'disk.vmdk/', 'disk.vmdk/x', ' ', '\u0000', 'a\u0000b', '\u00ff\u00fe'],
  ...['x'.repeat(300), `${'x/'.repeat(2500)}y`, './././disk-flat.vmdk', 'd\u0000i\u0000'],
];

/** Longest text made: somewhat more than is read of a descriptor. */
const TEXT_BYTES_MAX = 1_200_000;

/** How often a line may stand in a text, at most `count` times. */
function fitting(count: number, line: string): number {
  return Math.min(count, Math.ceil(TEXT_BYTES_MAX / (line.length + 1)));
}

const index = fc.nat(40);

function at(lines: readonly unknown[], place: number): number {
  return lines.length === 0 ? 0 : place % lines.length;
}

/** A descriptor's line with something else in place of a part of it. */
const replaced: fc.Arbitrary<Change> = fc.oneof(
  part(/\d+/g, fc.constantFrom(...NUMBERS)),
  part(/[A-Za-z]+/g, fc.constantFrom(...WORDS)),
  part(
    /"[^"]*"/g,
    fc.constantFrom(...NAMES).map((name) => `"${name}"`),
  ),
  part(/[= "]/g, fc.constantFrom('', '"', ' ', '=', '\u0000', '\t\t', "'", '\u00e9')),
);

function part(pattern: RegExp, value: fc.Arbitrary<string>): fc.Arbitrary<Change> {
  return fc.tuple(index, fc.nat(5), value).map(([place, which, text]) => (lines) => {
    const candidates = lines.flatMap((line, each) => (line.search(pattern) < 0 ? [] : [each]));
    const line = candidates[at(candidates, place)];
    if (line === undefined) return;
    const matches = [...(lines[line] ?? '').matchAll(pattern)];
    const match = matches[which % Math.max(1, matches.length)];
    if (match === undefined) return;
    const before = lines[line] ?? '';
    lines[line] = before.slice(0, match.index) + text + before.slice(match.index + match[0].length);
  });
}

/** A line more, less or elsewhere. */
const rearranged: fc.Arbitrary<Change> = fc.oneof(
  index.map((place): Change => (lines) => {
    lines.splice(at(lines, place), 1);
  }),
  fc
    .tuple(index, fc.constantFrom(1, 2, 5, 300, 3000, 6000))
    .map(([place, count]): Change => (lines) => {
      const line = lines[at(lines, place)] ?? '';
      lines.splice(
        at(lines, place),
        0,
        ...Array.from({ length: fitting(count, line) }, () => line),
      );
    }),
  fc.tuple(index, fc.constantFrom(...WORDS)).map(([place, word]): Change => (lines) => {
    lines.splice(at(lines, place), 0, word);
  }),
  fc.tuple(index, index).map(([from, to]): Change => (lines) => {
    lines.splice(at(lines, to), 0, ...lines.splice(at(lines, from), 1));
  }),
);

const FILLERS = [
  ' ',
  '\t',
  '=',
  '"',
  'a',
  '0',
  '9',
  '#',
  '\r',
  '\n',
  '\v',
  'RW ',
  'CID\t',
  'RW 1 ',
];

/** Something that goes on for very long, at the start or end of a line or in its middle. */
const lengthened: fc.Arbitrary<Change> = fc
  .tuple(index, fc.nat(60), fc.constantFrom(...FILLERS), fc.constantFrom(3, 1000, 30000, 300000))
  .map(([place, column, filler, count]): Change => (lines) => {
    const line = lines[at(lines, place)] ?? '';
    const where = Math.min(line.length, column);
    lines[at(lines, place)] = line.slice(0, where) + filler.repeat(count) + line.slice(where);
  });

/** Many extents, small ones, of the given kind; each takes its time when the image is opened. */
const manyExtents: fc.Arbitrary<Change> = fc
  .tuple(
    fc.constantFrom(10, 2000, 6000),
    fc.constantFrom(
      ...['RW 1 ZERO', 'RW 1 FLAT "disk.vmdk" 0', 'RW 1 FLAT "base-flat.vmdk" 0', 'RW 8 ZERO "x"'],
      ...['RW 8 SPARSE "disk-s001.vmdk"', 'NOACCESS 17592186044415 ZERO', 'RW 1 FLAT "none"'],
    ),
  )
  .map(([count, line]): Change => (lines) => {
    lines.push(...Array.from({ length: count }, () => line));
  });

const change = fc.oneof(
  { weight: 8, arbitrary: replaced },
  { weight: 4, arbitrary: rearranged },
  { weight: 1, arbitrary: lengthened },
  { weight: 1, arbitrary: manyExtents },
);

/** One of `places` with a text that has been damaged. */
export function textEdit(places: readonly TextPlace[]): fc.Arbitrary<Edit> {
  return fc
    .record({
      place: fc.constantFrom(...places),
      changes: fc.array(change, { minLength: 1, maxLength: 4 }),
      eol: fc.constantFrom('\n', '\n', '\n', '\n', '\r\n', '\r', '\n\r', '\u0000'),
      bom: fc.constantFrom('', '', '', '', '\u00ef\u00bb\u00bf', '\u00ff\u00fe', '\n\n'),
    })
    .map(({ bom, changes, eol, place }) => {
      const lines = place.text.split('\n');
      for (const each of changes) each(lines);
      const room = place.room ?? TEXT_BYTES_MAX;
      const text = (bom + lines.join(eol)).slice(0, Math.min(room, TEXT_BYTES_MAX));
      return { kind: 'text', file: place.file, at: place.at, room: place.room, text };
    });
}

/** All extents of `places` made `sectors` long. */
export function resizedTexts(places: readonly TextPlace[], sectors: bigint): Edit[] {
  return places.map(({ at: start, file, room, text }) => {
    const resized = text.replaceAll(
      /^(RW|RDONLY) \d+/gm,
      (_, access: string) => `${access} ${sectors.toString()}`,
    );
    return { kind: 'text', file, at: start, room, text: resized };
  });
}
