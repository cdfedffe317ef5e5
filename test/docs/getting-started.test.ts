// docs/getting-started.md, run as it stands there, but for what needs programs of the distribution.
import { runDocument } from './run.js';

test('getting started: what it says is true', async () => {
  await runDocument('docs/getting-started.md');
}, 240_000);
