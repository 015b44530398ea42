/**
 * Writes the records of a plan to a disk, its lanes side by side, until that fails, and says on
 * stdout, with writes that are there whatever happens next, what it begins ("begin LANE INDEX") and
 * what is synced ("synced LANE INDEX": that record and all before it).
 *
 * Arguments: disk, plan, bank of bytes, the module with the C library.
 */
import { readFileSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';

const [disk, planFile, bankFile, libcFile] = process.argv.slice(2);
const { libc } = await import(libcFile);
const bank = readFileSync(bankFile);
const lanes = JSON.parse(readFileSync(planFile, 'utf8'));

function say(line) {
  writeSync(1, `${line}\n`);
}

async function write(handle, { at, from, length, kind, mode }) {
  if (kind === 'zero') {
    if (libc().fallocate(handle.fd, mode, at, length) === 0) return;
    throw new Error(`fallocate: errno ${libc().errno()}`);
  }
  const { bytesWritten } = await handle.write(bank, from, length, at);
  if (bytesWritten !== length) throw new Error(`${bytesWritten} of ${length} bytes written`);
}

async function runLane(records, lane) {
  const handle = await open(disk, 'r+');
  for (const [index, record] of records.entries()) {
    say(`begin ${lane} ${index}`);
    await write(handle, record);
    if (!record.isSynced) continue;
    await handle.datasync();
    say(`synced ${lane} ${index}`);
  }
  await handle.close();
}

try {
  libc();
  await Promise.all(lanes.map(runLane));
  say('done');
} catch (error) {
  say(`failed ${String(error)}`);
  process.exit(1);
}
