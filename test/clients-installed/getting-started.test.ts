// docs/getting-started.md whole: with Debian's Python SDK and `az`.
import { runDocument } from '../docs/run.js';

test('getting started: what it says is true, for Python and az too', async () => {
  await runDocument('docs/getting-started.md', { installed: true });
}, 480_000);
