// The README, run as it stands there.
import { join } from 'node:path';
import { TestPool } from '../scenarios/pool.js';
import { copyTemplate } from '../scenarios/templates.js';
import { runDocument } from './run.js';

test('README: what it says is true', async () => {
  await runDocument('README.md', {
    // It installs, builds and runs every test; a newcomer's checkout is where that is tried.
    elsewhere: ['./scripts/start '],
    prepare: (home) => copyTemplate([], join(home, '.trivet'), () => TestPool.found()),
    before: `
      trivet up --ready-file ready.json > pool.log 2>&1 & pool=$!
      until [ -e ready.json ]; do kill -0 $pool; sleep 0.1; done`,
    after: 'kill $pool; wait $pool',
  });
}, 240_000);
