/**
 * Files that are in an archive in pieces: NAME.000000000, NAME.000000001 and on (DSP0243, chunkSize).
 */
import { joinWindows } from '../file-window.js';
import type { Member } from './tar-members.js';

/** What the name of a piece ends with. */
const PIECE_NAME = /^(?<name>.+)\.(?<number>\d{9})$/s;

/** A file of an archive, whole or in pieces. */
export interface WholeFile extends Member {
  /** What keeps it from being opened; undefined where all of it is there. */
  readonly fault?: string;
  /** Its pieces, as they are called; undefined where it is in one. */
  readonly pieces?: readonly string[];
}

/** All files of an archive: its members, with those that are pieces put together. */
export function joinChunks(members: readonly Member[]): WholeFile[] {
  const series = new Map<string, Map<number, Member>>();
  for (const member of members) {
    const [name, number] = pieceOf(member);
    if (name === undefined) continue;
    const pieces = series.get(name) ?? new Map<number, Member>();
    if (!pieces.has(number)) pieces.set(number, member);
    series.set(name, pieces);
  }
  const files = members.map((member): WholeFile => {
    const [name = ''] = pieceOf(member);
    const pieces = series.get(name);
    // Without a first piece they are files that are called so.
    if (pieces?.has(0) !== true) return member;
    const first = pieces.values().next().value;
    return first === member ? joinPieces(name, pieces) : PIECE;
  });
  return files.filter((file) => file !== PIECE);
}

/** Stands where a piece is that is in a file already. */
const PIECE: WholeFile = { name: '', window: { offset: 0, length: 0 } };

/** The name of the file that a member is a piece of, and its number from 0. */
function pieceOf({ name }: Member): readonly [name: string | undefined, number: number] {
  const groups = PIECE_NAME.exec(name)?.groups;
  return [groups?.['name'], Number(groups?.['number'])];
}

function joinPieces(name: string, pieces: ReadonlyMap<number, Member>): WholeFile {
  const numbers = [...pieces.keys()].toSorted((one, other) => one - other);
  const list = numbers.flatMap((number) => pieces.get(number) ?? []);
  const gap = numbers.findIndex((number, index) => number !== index);
  const missing = `${name}.${String(gap).padStart(9, '0')}`;
  return {
    name,
    window: joinWindows(list.map(({ window }) => window)),
    pieces: list.map((piece) => piece.name),
    ...(gap >= 0 && { fault: `its piece ${JSON.stringify(missing)} is not in the archive` }),
  };
}
