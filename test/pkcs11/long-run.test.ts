/** @jest-environment ./test/native/token-environment.cjs */
// The short form of the long run; `npm run test:pkcs11` does a million.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeDirectory } from '../native/program.js';

test('threads share a module: every result is right, and all is closed at the end', async () => {
  const directory = makeDirectory();
  const program = join(__dirname, 'programs/long-run.cjs');
  // Ends with 1, and so rejects, if a result is wrong.
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--expose-gc', program, '8000'], {
    env: { ...process.env, SOFTHSM2_CONF: directory.config },
    timeout: 60_000,
  });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^8000 operations over 4 threads in /m);
  expect(stdout.match(/^quarter \d: 2000 operations/gm)).toHaveLength(4);
  directory.remove();
});
