/** @jest-environment ./test/native/token-environment.cjs */
import { makeDirectory, run } from './program.js';

test.each(['together', 'alone'])(
  'worker threads share the module, the main thread %s: every signature is right',
  async (main) => {
    const directory = makeDirectory();
    expect(await run('workers.cjs', [main], directory)).toEqual({
      code: 0,
      signal: null,
      stdout: 'clean',
      stderr: '',
    });
    directory.remove();
  },
);
