import { describe, expect, test } from 'vitest';
import { findMount, parseMountTable, readMountTable } from '../../../src/os/mount-table.js';

describe('parseMountTable', () => {
  test('reads a source that is a dash', () => {
    const line = '95 28 0:52 / /mnt rw - fuse - rw,user_id=3';
    expect(parseMountTable(line)).toEqual([
      { id: 95, device: '0:52', mountpoint: '/mnt', type: 'fuse', source: '-', userId: 3 },
    ]);
  });

  test('reads every line, oldest first', () => {
    const text = [
      '22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw',
      '28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro',
      '95 28 0:52 / /mnt/disk rw,nosuid,nodev - fuse.vmdkfs /img/disk.vmdk rw,user_id=1000,group_id=100',
      '',
    ].join('\n');
    expect(parseMountTable(text)).toEqual([
      { id: 22, device: '0:20', mountpoint: '/sys', type: 'sysfs', source: 'sysfs', userId: 0 },
      { id: 28, device: '8:1', mountpoint: '/', type: 'ext4', source: '/dev/sda1', userId: 0 },
      {
        id: 95,
        device: '0:52',
        mountpoint: '/mnt/disk',
        type: 'fuse.vmdkfs',
        source: '/img/disk.vmdk',
        userId: 1000,
      },
    ]);
  });

  test.each([
    ['none', ''],
    ['one', 'shared:1 '],
    ['several', 'shared:1 master:2 propagate_from:3 unbindable '],
  ])('finds the fields behind %s of the optional ones', (_name, optional) => {
    const line = `36 35 98:0 /root /mnt2 rw,noatime ${optional}- ext3 /dev/root rw,errors=continue`;
    expect(parseMountTable(line)).toEqual([
      { id: 36, device: '98:0', mountpoint: '/mnt2', type: 'ext3', source: '/dev/root', userId: 0 },
    ]);
  });

  test.each([
    ['space', '/mnt/my\\040disk', '/mnt/my disk'],
    ['tab', '/mnt/a\\011b', '/mnt/a\tb'],
    ['newline', '/mnt/a\\012b', '/mnt/a\nb'],
    ['backslash', '/mnt/a\\134b', '/mnt/a\\b'],
    ['number sign', '/mnt/a\\043b', '/mnt/a#b'],
    ['backslash before digits', '/mnt/a\\134040', '/mnt/a\\040'],
    ['dash between spaces', '/mnt/a\\040-\\040b', '/mnt/a - b'],
    ['character of another script', '/mnt/\u30c6', '/mnt/\u30c6'],
  ])('decodes a %s in mountpoint and source', (_name, field, decoded) => {
    const line = `95 28 0:52 / ${field} rw - fuse ${field} rw,user_id=7`;
    expect(parseMountTable(line)).toEqual([
      { id: 95, device: '0:52', mountpoint: decoded, type: 'fuse', source: decoded, userId: 7 },
    ]);
  });

  test.each([
    ['user_id=1000,rw', 1000],
    ['rw,user_id=65534', 65534],
    ['rw,group_id=5', 0],
    ['rw,fuser_id=5', 0],
    ['rw', 0],
  ])('takes from the options %j the user %d', (options, userId) => {
    const line = `95 28 0:52 / /mnt rw - fuse disk ${options}`;
    expect(parseMountTable(line)).toMatchObject([{ userId }]);
  });

  test('reads a mount without a source', () => {
    const line = '95 28 0:52 / /mnt rw - tmpfs  rw,user_id=3';
    expect(parseMountTable(line)).toMatchObject([{ type: 'tmpfs', source: '', userId: 3 }]);
  });

  test('passes over what is not a mount', () => {
    expect(parseMountTable('')).toEqual([]);
    expect(parseMountTable('\nno separator here\n')).toEqual([]);
  });
});

describe('the mounts of this process', () => {
  test('have a root, the last of which is found', () => {
    const roots = readMountTable().filter((entry) => entry.mountpoint === '/');
    expect(roots.length).toBeGreaterThan(0);
    expect(findMount('/')).toEqual(roots.at(-1));
    expect(findMount('/')?.device).toMatch(/^\d+:\d+$/);
  });

  test('do not have what is no mountpoint', () => {
    expect(findMount('/nonexistent/mount')).toBeUndefined();
  });
});
