/**
 * `npm start`: sets the machine up, builds, and runs the main job. Without arguments a demo image
 * is made and mounted; `npm start -- IMAGE MOUNTPOINT` mounts yours.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

function run(program, args, cwd) {
  const { status } = spawnSync(program, args, { cwd, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, ['.ci/setup.js', 'start'], root);
run('npm', ['run', '--silent', 'build'], root);
const args = process.argv.length > 2 ? ['mount', ...process.argv.slice(2)] : ['demo'];
// npm changes to the package's folder; paths are meant from where the user is.
run(process.execPath, [`${root}dist/cli/main.js`, ...args], process.env.INIT_CWD ?? root);
