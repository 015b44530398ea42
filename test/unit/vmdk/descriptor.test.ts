import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  changeCid,
  changeParentCid,
  looksLikeDescriptor,
  mergedCidsOf,
  parseDescriptor,
  type Descriptor,
} from '../../../src/vmdk/descriptor.js';
import { mergedCids } from '../../../src/vmdk/cid.js';
import { VmdkError } from '../../../src/vmdk/vmdk-error.js';

const BOM = '\u00ef\u00bb\u00bf'; // of UTF-8, one character for each byte
const ROOM = 10240;

function parse(...lines: readonly string[]): Descriptor {
  return parseDescriptor(lines.join('\n'), 'disk.vmdk');
}

describe('looksLikeDescriptor', () => {
  test.each([
    '# Disk DescriptorFile\nversion=1\n',
    '# Disk Descriptor File',
    '#DISKDESCRIPTORFILE',
    '\r\n  \t\r\n # disk descriptorfile \r\nversion=1\r\n',
    `${BOM}# Disk DescriptorFile\r\n`,
    `${BOM}CID=12345678`,
    '# Description file created by VMDK stream converter\nversion=1 \n',
    'junk\r\n  createtype = "custom"\r\n',
    'junk\rcid=1',
    '# Disk DescriptorFile\0\u00ff\u00ff',
  ])('holds for %j', (text) => {
    expect(looksLikeDescriptor(text)).toBe(true);
  });

  test.each([
    '',
    '\0# Disk DescriptorFile',
    'Disk DescriptorFile',
    '# a disk\n# Disk DescriptorFile',
    '# Description file created by VMDK stream converter',
    'parentCID=ffffffff\n#CID=1\nsubversion=1',
    'text\0\nCID=12345678',
  ])('does not hold for %j', (text) => {
    expect(looksLikeDescriptor(text)).toBe(false);
  });
});

describe('parseDescriptor', () => {
  test('reads a descriptor of VMware', () => {
    const { text, entries, ...facts } = parse(
      ...['# Disk DescriptorFile', 'version=3', 'encoding="windows-1252"', 'CID=77161c8'],
      ...['parentCID=9f3a0001', 'createType="twoGbMaxExtentSparse"'],
      ...['parentFileNameHint="C:\\VMs\\base.vmdk"', 'changeTrackPath="disk-ctk.vmdk"', ''],
      ...['# Extent description', 'RW 8323072 SPARSE "disk-s001.vmdk"'],
      ...['RDONLY 100 SPARSE "disk-s002.vmdk"', 'NOACCESS 63 FLAT "mbr.bin" 2', 'RW 50 ZERO '],
      ...['', '# The Disk Data Base ', '#DDB', '', 'ddb.adapterType = "lsilogic"', ''],
    );
    const size = (sectors: number) => sectors * 512;
    expect(facts).toEqual({
      isTerminated: false,
      createType: 'twoGbMaxExtentSparse',
      cid: 0x077161c8,
      cidText: '77161c8',
      parentCid: 0x9f3a0001,
      parentCidText: '9f3a0001',
      parentFileNameHint: 'C:\\VMs\\base.vmdk',
      virtualBox: {},
      isEncrypted: false,
      changeTrackPath: 'disk-ctk.vmdk',
      extents: [
        ['RW', size(8323072), 'SPARSE', 'disk-s001.vmdk', 0, 11],
        ['RDONLY', size(100), 'SPARSE', 'disk-s002.vmdk', 0, 12],
        ['NOACCESS', size(63), 'FLAT', 'mbr.bin', 1024, 13],
        ['RW', size(50), 'ZERO', '', 0, 14],
      ].map(([access, bytes, type, fileName, fileOffset, lineNumber]) => {
        return { access, size: bytes, type, fileName, fileOffset, lineNumber };
      }),
    });
    expect(text.slice(entries.get('ddb.adaptertype')?.start)).toBe('lsilogic"\n');
  });

  test('knows neither parent nor CID where there is no line, and no parent for ffffffff', () => {
    const none = { cid: undefined, parentCid: undefined, createType: '', extents: [] };
    expect(parse('# Disk DescriptorFile')).toMatchObject(none);
    expect(parse('parentCID=FFFFFFFF')).toMatchObject(none);
    expect(parse('CID=ffffffff').cid).toBe(0xffffffff);
  });

  test.each([
    ['lower case', 'cid=1234abcd\ncreatetype="custom"'],
    ['upper case', 'CID=1234ABCD\nCREATETYPE="custom"'],
    ['spaces', '  CID  =\t1234abcd  \n\tcreateType = "custom" \t'],
    ['quotes', 'CID="1234abcd"\ncreateType="custom"'],
    ['no quotes', 'CID=1234abcd\ncreateType=custom'],
    ['words behind the quotes', 'CID="1234abcd" x\ncreateType="custom" # a comment'],
    ['CRLF', 'CID=1234abcd\r\ncreateType="custom"\r\n'],
    ['CR alone', 'CID=1234abcd\rcreateType="custom"\r'],
    ['equal keys, the first of which counts', 'CID=1234abcd\ncreateType=custom\ncid=5\nCID=xyz'],
    ['parentCID first', 'parentCID=ffffffff\nCID=1234abcd\ncreateType="custom"'],
    ['comments', '#CID=5\n  # CID=6\nCID=1234abcd\n#createType="x"\ncreateType="custom"'],
    ['lines that are neither', 'hello\n= 3\nCID=1234abcd\n\u00e9=1\ncreateType="custom"'],
    ['an end at NUL', 'CID=1234abcd\ncreateType="custom"\0\nencryptionKeys="x"\nRW 0 BAD'],
  ])('reads keys with %s', (_name, text) => {
    expect(parseDescriptor(text, 'disk.vmdk')).toMatchObject({
      cid: 0x1234abcd,
      parentCid: undefined,
      createType: 'custom',
      isEncrypted: false,
    });
  });

  test('counts each line once, whatever ends it and however blank', () => {
    const lines = (text: string) =>
      parseDescriptor(text, 'disk.vmdk').extents.map((extent) => extent.lineNumber);
    expect(lines('a\n\nRW 1 ZERO\n\n\nRW 1 ZERO')).toEqual([3, 6]);
    expect(lines('a\r\n\r\nRW 1 ZERO\r\n \r\nRW 1 ZERO\r\n')).toEqual([3, 5]);
    expect(lines('a\r\rRW 1 ZERO\rRW 1 ZERO')).toEqual([3, 4]);
  });

  test('passes over extent lines in comments', () => {
    const { extents } = parse('#RW 5 FLAT "old.vmdk" 0', '  # RW 0 BAD', 'rw 5 vmfs "esx.vmdk"');
    expect(extents).toMatchObject([{ type: 'VMFS', fileName: 'esx.vmdk', fileOffset: 0 }]);
  });

  test.each(['encryptionKeys="x"', 'keyID = "x"'])('%s means an encrypted disk', (line) => {
    expect(parse('CID=1', line).isEncrypted).toBe(true);
  });

  test.each([['RW 100 FLAT', 'VMDK_BAD_EXTENT_LINE']])('refuses %j', (line, code) => {
    expect(() => parse('', line)).toThrow(expect.objectContaining({ code, file: 'disk.vmdk' }));
  });
});

describe('a CID', () => {
  const facts = (...lines: readonly string[]) => {
    const { cid, cidText, parentCid, parentCidText } = parseDescriptor(lines.join('\n'), 'a.vmdk');
    return [cid, cidText, parentCid, parentCidText];
  };
  const hint = 'parentFileNameHint="base.vmdk"';

  test.each(['1234567890', '0xabc', '', 'some text'])('of %j cannot be read', (text) => {
    expect(facts(`CID=${text}`, 'parentCID=ffffffff')).toEqual([
      undefined,
      text,
      undefined,
      undefined,
    ]);
  });

  test.each(['0', '00000000', 'none', '', '4294967295', 'ffffffff'])(
    'of a parent that is %j is none where no parent is named',
    (text) => {
      expect(facts('CID=1', `parentCID=${text}`)).toEqual([1, '1', undefined, undefined]);
    },
  );

  test('of a parent that is named is what the line says', () => {
    expect(facts('CID=1', 'parentCID=0', hint)).toEqual([1, '1', 0, '0']);
    expect(facts('CID=1', 'parentCID=1234567890', hint)).toEqual([1, '1', undefined, '1234567890']);
    expect(facts('CID=1', 'parentCID=ffffffff', hint)).toEqual([1, '1', undefined, undefined]);
  });

  test('without a name of the parent is still one', () => {
    expect(facts('CID=1', 'parentCID=12ab')).toEqual([1, '1', 0x12ab, '12ab']);
  });
});

/** The text that is in the file after `changeCid`, with room for `room` bytes. */
function changed(text: string, cid: number, room = ROOM): string {
  let result = text;
  for (const change of changeCid(parseDescriptor(text, 'd.vmdk'), cid, room, 'd.vmdk')) {
    const end = change.start + change.text.length;
    result = result.slice(0, change.start) + change.text + result.slice(end);
  }
  return result;
}

describe('changeParentCid', () => {
  const child = (parentCid: string) => parse('CID=0badcafe', `parentCID=${parentCid}`);

  test.each([
    ['12345678', 0xbeef, '0000beef'],
    ['1234567', 0xabcdef1, 'abcdef1'],
    ['5', 7, '7'],
  ])('writes over %s in place', (before, cid, after) => {
    const descriptor = child(before);
    const start = descriptor.text.indexOf('parentCID=') + 'parentCID='.length;
    expect(changeParentCid(descriptor, cid)).toEqual([{ start, text: after }]);
  });

  test.each(['ffffffff', 'FFFFFFFF'])('has nothing to do without a parent (%s)', (none) => {
    expect(changeParentCid(child(none), 5)).toEqual([]);
  });

  test('the CIDs of a merge fit the line', () => {
    expect(mergedCidsOf(child('12345678'))).toEqual(mergedCids(0x0badcafe, 8));
    expect(mergedCidsOf(child('123'))).toEqual(mergedCids(0x0badcafe, 3));
    expect(mergedCidsOf(child('ffffffff'))).toBeUndefined();
    expect(mergedCidsOf(parse('parentCID=12345678'))).toBeUndefined();
  });
});

describe('changeCid', () => {
  const LONG = '0123456789abcdef01234567';

  // `@` stands for the CID, `%` for its eight digits.
  const TEXTS = [
    'CID=@\nparentCID=12345678\n# end\u00e9',
    'parentCID=77161c8\r\n cid = "@" \r\nRW 1 ZERO\r\n',
    '#CID=1\nCID=@\nCID=12345678',
    'CID=@\nddb.longContentID=12345678',
    `CID=@\nddb.longContentID = "${LONG}%"\n`,
    `ddb.longContentID=${LONG}%\nCID=@\nend`,
  ];
  const DIGITS = [
    { short: '12345678', long: '12345678' },
    { short: '77161c8', long: '077161c8' }, // as QEMU writes it
    { short: '1', long: '99999999' }, // a tool changed only the CID
  ];

  describe.each(DIGITS)('in place of $short', ({ short, long }) => {
    test.each(TEXTS)('stands in %j, and nothing else changes', (text) => {
      const before = text.replace('@', short).replace('%', long);
      expect(changed(before, 0xdeadbeef)).toBe(text.replaceAll(/[@%]/g, 'deadbeef'));
    });
  });

  test('leaves the NULs of an embedded descriptor behind it', () => {
    const text = 'CID=77161c8\nRW 1 ZERO\n\0\0\0';
    expect(changed(text, 0xdeadbeef)).toBe('CID=deadbeef\nRW 1 ZERO\n\0\0');
  });

  test('writes eight digits at each of its places, whatever the new number', () => {
    const descriptor = parse('CID=12345678', `ddb.longContentID = "${LONG}12345678"`);
    expect(changeCid(descriptor, 0xbeef, descriptor.text.length, 'd.vmdk')).toEqual([
      { start: 4, text: '0000beef' },
      { start: 58, text: '0000beef' },
    ]);
  });

  test('refuses where the text would outgrow its room by one byte', () => {
    const text = 'CID=77161c8\nend';
    expect(changed(text, 0xdeadbeef, text.length + 1)).toBe('CID=deadbeef\nend');
    expect(() => changed(text, 0xdeadbeef, text.length)).toThrow(
      'd.vmdk: the descriptor has no room for a CID of eight digits (16 bytes, 15 there)',
    );
  });

  test('finds the CID behind a BOM', () => {
    expect(changed('\u00ef\u00bb\u00bfCID=12345678\n', 0xdeadbeef)).toBe(
      '\u00ef\u00bb\u00bfCID=deadbeef\n',
    );
  });

  test('keeps the end of a text that grows: what stands behind its NUL stays outside', () => {
    const text = 'CID=77161c8\nend\n\0\0parentFileNameHint="x"\n';
    const result = changed(text, 0xdeadbeef, text.length);
    expect(result).toBe('CID=deadbeef\nend\n\0\0parentFileNameHint="x"\n'.replace('\0\0', '\0'));
    expect(parseDescriptor(result, 'd.vmdk')).toMatchObject({
      text: 'CID=deadbeef\nend\n',
      parentFileNameHint: undefined,
    });
  });

  test('changes nothing where there is no CID line', () => {
    expect(changeCid(parse('parentCID=12345678', '#CID=1'), 5, ROOM, 'd.vmdk')).toEqual([]);
  });
});

describe('values', () => {
  test('keep bytes that are white space in no ASCII', () => {
    const hint = parseDescriptor(
      'parentFileNameHint=voil\u00c3\u00a0 \n',
      'd.vmdk',
    ).parentFileNameHint;
    expect(hint).toBe('voil\u00c3\u00a0');
  });
});

describe('any bytes', () => {
  const byte = fc.nat(255).map((code) => String.fromCharCode(code));
  const piece = fc.oneof(
    { weight: 3, arbitrary: fc.string({ unit: byte, maxLength: 12 }) },
    fc.constantFrom('\n', '\r\n', '\n\n', '\0', ' ', '=', '"', '#'),
    fc.constantFrom('\nCID=', '\nparentCID=', '\nRW ', '\nRDONLY 5 ', 'FLAT "a" 0', 'ZERO'),
    fc.constantFrom('\nddb.longContentID = "', '0123456789abcdef'.repeat(2), '77161c8'),
  );
  const text = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''));

  test('parse or are refused with a VmdkError', () => {
    fc.assert(
      fc.property(text, (input) => {
        try {
          const { text: body, entries } = parseDescriptor(input, 'disk.vmdk');
          expect(input.startsWith(body)).toBe(true);
          for (const { start, value } of entries.values()) {
            expect(body.slice(start, start + value.length)).toBe(value);
          }
          expect(looksLikeDescriptor(input)).toBeTypeOf('boolean');
        } catch (error) {
          expect(error).toBeInstanceOf(VmdkError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('around a CID stay as they are when it changes', () => {
    const comment = fc.string({ unit: byte }).map((line) => `#${line.replaceAll(/[\0\r\n]/g, '')}`);
    const digits = fc.stringMatching(/^[0-9a-f]{1,8}$/);
    fc.assert(
      fc.property(comment, comment, digits, (before, after, old) => {
        const around = (cid: string) => `${before}\nCID=${cid}\n${after}`;
        expect(changed(around(old), 0xdeadbeef)).toBe(around('deadbeef'));
      }),
    );
  });
});
