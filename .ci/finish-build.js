/**
 * What tsc leaves to do: the execute bit, which `npm link` and a path to dist/ need, and the manual
 * page, which is made from the program that was just built.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { factsOf } from '../dist/cli/command-facts.js';
import { formatManual } from '../dist/cli/manual.js';
import { buildProgram } from '../dist/cli/program.js';

const dist = new URL('../dist/', import.meta.url);
chmodSync(new URL('cli/main.js', dist), 0o755);
writeFileSync(new URL('vmdkfs.1', dist), formatManual(factsOf(buildProgram())));
