import { describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/mount/mount-error.js';
import { parseMountOptions, parseTransport } from '../../../src/mount/mount-options.js';

const OPEN = {
  readOnly: false,
  disk: undefined,
  lock: true,
  allowOutside: false,
  allowDevices: false,
  force: false,
  dropChangeTracking: false,
};

const NONE = {
  open: OPEN,
  debug: false,
  transport: undefined,
  workers: undefined,
  writebackCache: false,
  passthrough: true,
  overlay: undefined,
  snapshot: false,
  flat: false,
  pidFile: undefined,
  log: undefined,
  passed: [],
};

describe('parseMountOptions', () => {
  test.each([[[]], [['']], [[',,', '']]])('of %j asks for nothing', (values) => {
    expect(parseMountOptions(values)).toEqual(NONE);
  });

  test('reads lists and repeated options alike', () => {
    const expected = {
      ...NONE,
      open: { ...OPEN, readOnly: true },
      debug: true,
      transport: 'libfuse',
      passed: ['allow_root', 'noatime'],
    };
    expect(parseMountOptions(['ro,debug,transport=libfuse,allow_root,noatime'])).toEqual(expected);
    expect(
      parseMountOptions(['ro', 'debug', 'transport=libfuse', 'allow_root', 'noatime']),
    ).toEqual(expected);
  });

  test.each([
    [['ro,rw'], false],
    [['rw,ro'], true],
    [['ro', 'rw'], false],
    [['rw', 'defaults,ro,nosuid'], true],
  ])('of %j takes the last of ro and rw', (values, readOnly) => {
    expect(parseMountOptions(values).open.readOnly).toBe(readOnly);
  });

  test('reads what is allowed when the image is opened, and which disk is meant', () => {
    const { open } = parseMountOptions(['allow_outside,disk=2', 'force', 'disk=system.vmdk']);
    expect(open).toEqual({ ...OPEN, allowOutside: true, force: true, disk: 'system.vmdk' });
    expect(parseMountOptions(['no_lock']).open).toEqual({ ...OPEN, lock: false });
    const others = parseMountOptions(['allow_devices,drop_change_tracking']).open;
    expect(others).toEqual({ ...OPEN, allowDevices: true, dropChangeTracking: true });
  });

  test('reads where writes go', () => {
    const { overlay, snapshot } = parseMountOptions(['ro,overlay=a.vmdk', 'overlay=/x/b=c.vmdk']);
    expect({ overlay, snapshot }).toEqual({ overlay: '/x/b=c.vmdk', snapshot: false });
    expect(parseMountOptions(['snapshot'])).toEqual({ ...NONE, snapshot: true });
    expect(parseMountOptions(['overlay='])).toEqual({ ...NONE, overlay: '' });
  });

  test('takes the last transport', () => {
    expect(parseMountOptions(['transport=libfuse,transport=auto']).transport).toBe('auto');
  });

  test('lets the kernel check permissions where others may use the mount', () => {
    expect(parseMountOptions(['allow_other']).passed).toEqual([
      'allow_other',
      'default_permissions',
    ]);
    expect(parseMountOptions(['default_permissions,allow_other']).passed).toEqual([
      'default_permissions',
      'allow_other',
    ]);
    expect(parseMountOptions(['allow_root']).passed).toEqual(['allow_root']);
  });

  test.each(['allow_root', 'default_permissions', 'nonempty', 'nosuid', 'nodev', 'noexec', 'sync'])(
    'passes %s on, once',
    (option) => {
      expect(parseMountOptions([option, `${option},${option}`])).toEqual({
        ...NONE,
        passed: [option],
      });
    },
  );

  test.each([
    ...['defaults', 'auto', 'noauto', 'nofail', 'user', 'users', '_netdev', 'suid', 'dev', 'exec'],
    ...['relatime', 'x-systemd.automount', 'x-gvfs-show', 'comment=a disk', 'lazytime'],
  ])('accepts %s from fstab without effect', (option) => {
    expect(parseMountOptions([option])).toEqual(NONE);
  });

  test.each([
    ...['bogus', 'RO', ' ro', 'ro=1', 'allow_other=1', 'Xx-systemd', 'xx-systemd', 'fsname=a'],
    ...['subtype=a', 'constructor', 'debug=1', 'transport', 'overlay', 'snapshot=1'],
  ])('refuses %j', (option) => {
    expect(() => parseMountOptions(['ro', `nosuid,${option}`])).toThrow(UsageError);
    expect(() => parseMountOptions([option])).toThrow(
      `unknown mount option ${JSON.stringify(option)} (known: ro, rw, debug, writeback_cache, no_passthrough, no_lock, snapshot, flat, allow_outside, allow_devices, force, drop_change_tracking, workers=N, transport=NAME, disk=DISK, overlay=FILE, `,
    );
  });

  test('reads the number of threads and what the kernel may do', () => {
    expect(parseMountOptions(['workers=8,writeback_cache,no_passthrough'])).toEqual({
      ...NONE,
      passthrough: false,
      workers: 8,
      writebackCache: true,
    });
  });

  test.each(['workers=', 'workers=0', 'workers=65', 'workers=2x', 'workers=-1'])(
    'refuses %s',
    (option) => {
      expect(() => parseMountOptions([option])).toThrow(UsageError);
    },
  );

  test.each(['transport=', 'transport=fuse', 'transport=LIBFUSE'])('refuses %s', (option) => {
    expect(() => parseMountOptions([option])).toThrow(UsageError);
  });
});

describe('parseTransport', () => {
  test('knows the transports by name', () => {
    expect(parseTransport('auto')).toBe('auto');
    expect(parseTransport('libfuse')).toBe('libfuse');
  });

  test('names what it refuses and what there is', () => {
    expect(() => parseTransport('nfs')).toThrow(UsageError);
    expect(() => parseTransport('nfs')).toThrow(/^unknown transport "nfs" \(auto, .*libfuse/);
  });
});
