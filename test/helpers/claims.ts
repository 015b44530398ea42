/** Which sectors of a file belong to which part of it, and where that goes wrong. */

const SECTOR = 512;

/** Sectors of the file that belong to one part of it. */
export interface Claim {
  readonly owner: string;
  readonly start: number;
  readonly end: number;
}

/** Parts that the file does not hold in full. */
export function pastTheEnd(claims: readonly Claim[], fileBytes: number): string[] {
  return claims
    .filter(({ end }) => end * SECTOR > fileBytes)
    .map(({ owner, start }) => `${owner} at sector ${start} lies past the end of the file`);
}

/** Parts that lie, at least partly, where another one lies; empty ones lie nowhere. */
export function shared(claims: readonly Claim[]): string[] {
  const problems: string[] = [];
  let before: Claim = { owner: 'nothing', start: 0, end: 0 };
  const real = claims.filter(({ end, start }) => end > start);
  for (const claim of real.sort((one, other) => one.start - other.start)) {
    if (claim.start < before.end) {
      problems.push(`${before.owner} and ${claim.owner} share sector ${claim.start}`);
    }
    if (claim.end > before.end) before = claim;
  }
  return problems;
}
