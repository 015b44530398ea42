import { describe, expect, test } from 'vitest';
import { parseOvf, OVF_BYTES_MAX } from '../../../src/vmdk/machine/ovf.js';
import { errorOf } from '../../helpers/disk-reading.js';

const parse = (text: string | Uint8Array) =>
  parseOvf(typeof text === 'string' ? Buffer.from(text) : text, 'a.ova:a.ovf');

const VMWARE = `<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>
    <File ovf:href="a &amp; b.vmdk" ovf:id="file1" ovf:size="77"/>
    <File ovf:id="file2" ovf:href="c.vmdk" ovf:compression="gzip" ovf:chunkSize="1000"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="vmdisk1" ovf:fileRef="file2" ovf:capacity="1"/>
    <Disk ovf:diskId="vmdisk2" ovf:capacity="1"/>
    <Disk ovf:diskId="vmdisk3" ovf:fileRef="file1" ovf:capacity="1"/>
    <Disk ovf:diskId="vmdisk4" ovf:fileRef="file9" ovf:capacity="1"/>
  </DiskSection>
</Envelope>`;

const FILE_1 = { id: 'file1', href: 'a & b.vmdk', size: 77, isGzip: false, chunkBytes: undefined };
const FILE_2 = { id: 'file2', href: 'c.vmdk', size: undefined, isGzip: true, chunkBytes: 1000 };

describe('the text of an OVF', () => {
  test('has its files in the order of the text, and its disks in theirs', () => {
    expect(parse(VMWARE)).toEqual({ files: [FILE_1, FILE_2], disks: [FILE_2, FILE_1] });
  });

  test.each([
    ['another prefix', VMWARE.replaceAll('ovf:', 'o1-x:')],
    ['no prefixes', VMWARE.replaceAll('ovf:', '')],
    ['prefixed elements', VMWARE.replaceAll(/<(\/?)(\w)/g, '<$1ns0:$2')],
    ['a mark of UTF-8', `\uFEFF${VMWARE}`],
  ])('is read with %s', (_name, text) => {
    expect(parse(text)).toEqual(parse(VMWARE));
  });

  test('is read in UTF-16 of both orders', () => {
    const little = Buffer.from(`\uFEFF${VMWARE}`, 'utf16le');
    expect(parse(little)).toEqual(parse(VMWARE));
    expect(parse(Buffer.from(little).swap16())).toEqual(parse(VMWARE));
  });

  test('files and disks elsewhere in the text are none', () => {
    const text = '<E><File href="x"/><Other><Disk fileRef="x"/></Other><References/></E>';
    expect(parse(text)).toEqual({ files: [], disks: [] });
  });

  test('a size that is no number is none', () => {
    for (const size of ['', '-1', '1e9', '9'.repeat(400), 'many']) {
      const { files } = parse(`<E><References><File href="x" size="${size}"/></References></E>`);
      expect(files[0]?.size, size).toBeUndefined();
    }
  });
});

describe('hostile text', () => {
  const nested = (depth: number): string => `${'<a>'.repeat(depth)}${'</a>'.repeat(depth)}`;
  const files = (count: number): string =>
    `<E><References>${'<File href="x"/>'.repeat(count)}</References></E>`;

  test.each([
    ['a DOCTYPE', '<!DOCTYPE e [<!ENTITY a "b">]><e>&a;</e>', /DOCTYPE/],
    ['a DOCTYPE that names a file', '<!DOCTYPE e SYSTEM "/etc/passwd"><e/>', /DOCTYPE/],
    ['65 levels', nested(65), /deep/],
    ['a million levels', '<a>'.repeat(1_000_000), /deep/],
    ['too many files', files(10_001), /10000 files/],
    ['more than 4 MiB', `<e>${' '.repeat(OVF_BYTES_MAX)}</e>`, /longer than 4194304/],
  ])('with %s is refused', (_name, text, reason) => {
    const error = errorOf(() => parse(text));
    expect(error.code).toBe('VMDK_BAD_ARCHIVE');
    expect(error.message).toMatch(reason);
  });

  test('of 64 levels, and of 10000 files, is read', () => {
    expect(parse(nested(64)).files).toEqual([]);
    expect(parse(files(10_000)).files).toHaveLength(10_000);
  });

  test.each([
    ['AAAA', 'letters'],
    ['<a', 'half a tag'],
    ['<a><b></a>', 'crossed tags'],
    ['<a>&lol;</a>', 'an unknown entity'],
    ['<a hasOwnProperty="1" b="2" b="3"/>', 'a name of JavaScript'],
    ['<!DOCTYPE a [', 'half a DOCTYPE'],
    ['\0\u0001\u0002', 'bytes'],
  ])('%j, %s, is no XML', (text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ name: 'OvfSyntaxError' }));
  });

  test('with as many attributes as fit is read in a moment', () => {
    const all = Array.from({ length: 300_000 }, (_, index) => `a${index}="1"`).join(' ');
    const start = performance.now();
    expect(parse(`<E ${all}/>`).files).toEqual([]);
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  test('with __proto__ changes nothing', () => {
    parse('<E><References><File __proto__="x" href="y" constructor="z"/></References></E>');
    expect(({} as Record<string, unknown>)['href']).toBeUndefined();
  });
});
