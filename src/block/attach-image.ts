/**
 * An image that some thread has open, in any thread. What serves requests imports this and not what
 * opens images: a thread has its own copy of all code that it loads.
 */
import { ImageLayer, type LayerDescription } from './image-layer.js';
import { sumCounters, type EngineCounts } from './layer-counters.js';
import { LayerState } from './layer-state.js';
import { ParentChain } from './parent-chain.js';

/** An open disk as it travels between threads: the image first, then its parents. */
export interface ImageDescription {
  readonly layers: readonly LayerDescription[];
  /** Which parent holds what, where there are several. */
  readonly owners: SharedArrayBuffer | undefined;
}

/**
 * To be told when a thread that had attached the image ended by itself: what it was in the middle
 * of is given up, and layers that it may have left half done are not written any more.
 */
export function threadEnded(description: ImageDescription, thread: number): void {
  for (const { state } of description.layers) new LayerState(state).threadEnded(thread);
}

/** What the engine did for all layers of an image since it was opened. */
export function engineCounts(description: ImageDescription): EngineCounts {
  return sumCounters(description.layers.map(({ state }) => new LayerState(state).counters));
}

/** How many writes to the image failed since it was opened; its parents are never written. */
export function failedWrites({ layers: [image] }: ImageDescription): number {
  return image === undefined ? 0 : new LayerState(image.state).failedWrites;
}

/** A device over an image that some thread has open. */
export function attachImage(description: ImageDescription): ImageLayer {
  const [image] = attachLayers(description);
  return image;
}

/** The same for each image of the chain by itself: the image first, its base last. */
export function attachLayers(description: ImageDescription): [ImageLayer, ...ImageLayer[]] {
  const [top, ...others] = description.layers;
  if (top === undefined) throw new RangeError('an image has at least one layer');
  const parents: ImageLayer[] = [];
  for (const layer of others.toReversed()) parents.unshift(new ImageLayer(layer, parents[0]));
  const { owners } = description;
  const beneath = owners === undefined ? parents[0] : new ParentChain(parents, owners);
  return [new ImageLayer(top, beneath), ...parents];
}
