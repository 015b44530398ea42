/** Names of subformats and adapters on the command line. */
import { UsageError } from '../mount/mount-error.js';
import { ADAPTERS, type Adapter } from '../vmdk/disk-geometry.js';
import { findSubformat, SUBFORMATS, type Subformat } from '../vmdk/subformat.js';

/**
 * The subformat that `name` means, in any case.
 *
 * @param others names that are known besides
 * @throws UsageError
 */
export function parseSubformat<Other extends string = never>(
  name: string,
  others: readonly Other[] = [],
): Subformat | Other {
  const other = others.find((known) => known.toLowerCase() === name.toLowerCase());
  const subformat = other ?? findSubformat(name);
  if (subformat !== undefined) return subformat;
  const names = [...SUBFORMATS, ...others].join(', ');
  throw new UsageError(
    `${JSON.stringify(name)} is not a subformat that can be made (${names} expected)`,
  );
}

/**
 * The adapter that `name` means, in any case.
 *
 * @throws UsageError
 */
export function parseAdapter(name: string): Adapter {
  const adapter = ADAPTERS.find((known) => known.toLowerCase() === name.toLowerCase());
  if (adapter !== undefined) return adapter;
  throw new UsageError(
    `${JSON.stringify(name)} is not an adapter (${ADAPTERS.join(', ')} expected)`,
  );
}
