// A short chaos: few faults, one seed. `npm run chaos` goes on for as long as it is told to. TRIVET_SEED tries another.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const SEED = process.env['TRIVET_SEED'] ?? '11';
const MINUTES = '0.4';

test(`faults of every kind lose nothing, and every history is linearizable (seed ${SEED})`, async () => {
  const script = join(__dirname, '../../scripts/chaos');
  const given = ['--minutes', MINUTES, '--seed', SEED];
  const options = { timeout: 230_000, env: { ...process.env, TRIVET_BUILT: '1' }, maxBuffer: 1 << 26 };
  // Its exit code is the verdict; what it says shows the seed and what is wrong.
  let said: string;
  try {
    said = (await promisify(execFile)(script, given, options)).stderr;
  } catch (error) {
    throw new Error(String((error as { stderr?: unknown }).stderr), { cause: error });
  }
  expect(said).toMatch(/nothing lost, every history linearizable/);
}, 240_000);
