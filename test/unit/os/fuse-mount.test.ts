import { describe, expect, test } from 'vitest';
import { helperOptions } from '../../../src/os/fuse-mount.js';

const request = { mountpoint: '/mnt', fsname: '/img/a.vmdk', subtype: 'vmdkfs' };

describe('the options for fusermount3', () => {
  test('name the source, the subtype, and ask to be unmounted', () => {
    expect(helperOptions({ ...request, options: ['ro', 'nodev'] })).toBe(
      'ro,nodev,auto_unmount,fsname=/img/a.vmdk,subtype=vmdkfs',
    );
  });

  test('cannot be smuggled in through the name of an image', () => {
    const fsname = '/img/a,allow_other\\,suid.vmdk';
    expect(helperOptions({ ...request, fsname, options: [] })).toBe(
      'auto_unmount,fsname=/img/a\\,allow_other\\\\\\,suid.vmdk,subtype=vmdkfs',
    );
  });
});
