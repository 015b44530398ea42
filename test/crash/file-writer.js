/**
 * Makes, overwrites and deletes files in a folder until that fails, and says on stdout, with writes
 * that are there whatever happens next, what is durable: "kept NAME SIZE HASH" after the sync of a
 * file, "gone NAME" before one is deleted, "moved NAME NEW" around a rename.
 *
 * Arguments: folder, prefix of names.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const [folder, prefix] = process.argv.slice(2);
const KEPT_MAX = 24;
const BYTES_MAX = 200_000;
const kept = [];

function say(line) {
  writeSync(1, `${line}\n`);
}

function sync(path) {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

function make(name) {
  const bytes = randomBytes(1 + Math.floor(Math.random() * BYTES_MAX));
  const fd = openSync(join(folder, name), 'w');
  writeSync(fd, bytes);
  fsyncSync(fd);
  closeSync(fd);
  sync(folder);
  say(`kept ${name} ${bytes.length} ${createHash('md5').update(bytes).digest('hex')}`);
  kept.push(name);
}

function move() {
  const [name] = kept.splice(Math.floor(Math.random() * kept.length), 1);
  const to = `${name}m`;
  say(`moving ${name} ${to}`);
  renameSync(join(folder, name), join(folder, to));
  sync(folder);
  say(`moved ${name} ${to}`);
  kept.push(to);
}

try {
  for (let index = 0; ; index++) {
    make(`${prefix}-${index}`);
    if (index % 3 === 2) move();
    if (kept.length <= KEPT_MAX) continue;
    const name = kept.shift();
    say(`gone ${name}`);
    rmSync(join(folder, name));
  }
} catch (error) {
  say(`failed ${String(error)}`);
  process.exit(1);
}
