/** Times as people read them. */

/** `2026-11-22 10:00:00`, local time, of a time in ISO 8601. */
export function localTime(iso: string): string {
  // The Swedish way to write a time is ISO 8601 with a space.
  return new Date(iso).toLocaleString('sv-SE');
}

/** `12.3 us`, `4.56 ms`, `7.89 s`. */
export function formatDuration(microseconds: number): string {
  const round = (number: number): number => Number(number.toPrecision(3));
  if (round(microseconds) < 1000) return `${round(microseconds)} us`;
  if (round(microseconds / 1000) < 1000) return `${round(microseconds / 1000)} ms`;
  return `${round(microseconds / 1_000_000)} s`;
}
