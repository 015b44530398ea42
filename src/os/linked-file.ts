/**
 * Opening files by names that others may know beforehand. In a folder that several users write to,
 * one can lay a link under such a name, to a file that only the user may write who opens it (kernels
 * with fs.protected_symlinks refuse some of these). So no link of another user is followed.
 */
import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { lstatSync, openSync, readlinkSync } from './host-fs.js';
import { Errno, systemError, toErrno } from '../errno.js';

/** As many as the kernel follows. */
const LINKS_MAX = 40;

/** The links in there are the kernel's own, and lead to what may have no path. */
const KERNEL_LINKS = /^\/(?:proc|dev)\/(?:\w+\/)*fd\/\d+$/;

/**
 * open(2), which follows links of this user and of root only.
 *
 * @param mode permissions of a file that is made, before the umask
 * @returns the lowest free descriptor
 * @throws ELOOP for a link of another user; the system's error
 */
export function openLinked(path: string, flags: number, mode: number): number {
  let name = path;
  for (let links = 0; links < LINKS_MAX; links++) {
    try {
      return openSync(name, flags | constants.O_NOFOLLOW, mode);
    } catch (error) {
      if (toErrno(error) !== -Errno.ELOOP) throw error;
    }
    const { uid } = lstatSync(name);
    if (uid !== 0 && uid !== process.getuid?.()) {
      throw systemError('ELOOP', `${path}: is a link of user ${uid}; name the file itself`);
    }
    if (KERNEL_LINKS.test(name)) return openSync(name, flags, mode);
    const target = readlinkSync(name);
    // Not `join`: behind a linked folder `..` is not what it is in the text.
    name = target.startsWith('/') ? target : `${dirname(name)}/${target}`;
  }
  throw systemError('ELOOP', `${path}: has too many links to its file`);
}
