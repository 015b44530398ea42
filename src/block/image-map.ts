/**
 * What a disk holds where: which image of the chain answers for each stretch, and where its bytes
 * stand. Every image is asked for what it holds itself; where that is nothing its parent is asked, and
 * behind the end of a parent there are zeros. Empty tables are passed over all at once, so a large
 * empty disk takes no longer than a small one.
 */
import type { Holding } from './extent.js';

/** What is asked of an image of the chain. */
export interface MappedLayer {
  /** Bytes. */
  readonly size: number;
  holding(offset: number, limit: number): Holding;
}

/** A stretch of the disk that is of one kind; bytes. */
export interface MapRun {
  readonly start: number;
  readonly length: number;
  /** Which image of the chain answers: 0 is the image, 1 its parent; the base where none has it. */
  readonly depth: number;
  /** `nothing`: no image of the chain holds it, and it reads as zeros. */
  readonly kind: Holding['kind'];
  /** Where the bytes stand as they are. */
  readonly place?: Holding['place'];
  readonly isCompressed: boolean;
}

/** The runs of a disk in their order, without a gap. @param layers the image first, its base last */
export function mapImage(layers: readonly MappedLayer[]): Generator<MapRun> {
  return joined(pieces(layers, 0, 0, layers[0]?.size ?? 0));
}

/** The runs that an image holds itself, in their order; where it holds nothing there is none. */
export function* heldRuns(layer: MappedLayer): Generator<MapRun> {
  for (const run of mapImage([layer])) {
    if (run.kind !== 'nothing') yield run;
  }
}

function* pieces(
  layers: readonly MappedLayer[],
  depth: number,
  start: number,
  limit: number,
): Generator<MapRun> {
  const layer = layers[depth];
  const hasParent = depth + 1 < layers.length;
  const there = Math.min(limit, layer?.size ?? 0);
  for (let at = start; at < there;) {
    const holding = layer?.holding(at, there) ?? NOTHING;
    const end = Math.min(holding.end, there);
    if (holding.kind === 'nothing' && hasParent) {
      yield* pieces(layers, depth + 1, at, end);
    } else {
      const { isCompressed = false, kind, place } = holding;
      const length = end - at;
      yield { start: at, length, depth, kind, isCompressed, ...(place && { place }) };
    }
    at = end;
  }
  const from = Math.max(start, there);
  if (from >= limit) return;
  // Behind the end of a shorter parent.
  yield { start: from, length: limit - from, depth, kind: 'nothing', isCompressed: false };
}

const NOTHING: Holding = { kind: 'nothing', end: Infinity };

/** Neighbours that say the same are one. */
function* joined(runs: Iterable<MapRun>): Generator<MapRun> {
  let last: MapRun | undefined;
  for (const run of runs) {
    if (last !== undefined && continues(last, run)) {
      last = { ...last, length: last.length + run.length };
      continue;
    }
    if (last !== undefined) yield last;
    last = run;
  }
  if (last !== undefined) yield last;
}

function continues(before: MapRun, run: MapRun): boolean {
  if (before.kind !== run.kind || before.depth !== run.depth) return false;
  if (before.isCompressed !== run.isCompressed) return false;
  const [one, other] = [before.place, run.place];
  if (one === undefined || other === undefined) return one === other;
  return one.file === other.file && one.offset + before.length === other.offset;
}
