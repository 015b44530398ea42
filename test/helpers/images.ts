import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { check, vmdkfs } from './run.js';
import { tempFolder } from './temp-folder.js';

/** Kinds of image that `makeImage` makes. */
export type ImageKind =
  'monolithicSparse' | 'monolithicFlat' | 'twoGbMaxExtentSparse' | 'twoGbMaxExtentFlat';

export const IMAGE_KINDS: readonly ImageKind[] = [
  'monolithicSparse',
  'monolithicFlat',
  'twoGbMaxExtentSparse',
  'twoGbMaxExtentFlat',
];

/** A new image of our own making, removed when the test has finished. */
export async function newImage(size: string): Promise<string> {
  const image = join(tempFolder(), 'disk.vmdk');
  const { code, stderr } = await vmdkfs('create', image, '--size', size);
  if (code !== 0) throw new Error(`create: ${stderr}`);
  return image;
}

/** Makes an image with qemu-img; extra options as `-o` takes them. */
export async function qemuImage(
  path: string,
  kind: ImageKind,
  size: string,
  ...options: readonly string[]
): Promise<void> {
  const list = [`subformat=${kind}`, ...options].join(',');
  await check('qemu-img', 'create', '-q', '-f', 'vmdk', '-o', list, path, size);
}

/** A descriptor of our own writing; every line as given. */
export function writeDescriptor(
  path: string,
  extents: readonly string[],
  more: { cid?: string; parentCid?: string; hint?: string; createType?: string } = {},
): void {
  const lines = [
    '# Disk DescriptorFile',
    'version=1',
    `CID=${more.cid ?? '12345678'}`,
    `parentCID=${more.parentCid ?? 'ffffffff'}`,
    `createType="${more.createType ?? 'custom'}"`,
    ...(more.hint === undefined ? [] : [`parentFileNameHint="${more.hint}"`]),
    '',
    '# Extent description',
    ...extents,
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
  ];
  writeFileSync(path, lines.join('\n'));
}

/** Makes `path` a child of `parent` (same folder), an empty sparse file of `sectors` behind it. */
export function chain(path: string, extents: readonly string[], parent: string): void {
  const cid = /^CID=([0-9a-f]+)/im.exec(readFileSync(parent).toString('latin1'))?.[1] ?? 'ffffffff';
  writeDescriptor(path, extents, { parentCid: cid, hint: basename(parent) });
}
