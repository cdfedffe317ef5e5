// docs/tutorials, run as they stand there.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, runDocument } from './run.js';

const folder = 'docs/tutorials';

test.each(readdirSync(join(root, folder)))(
  '%s: what it says is true',
  async (file) => {
    await runDocument(join(folder, file));
  },
  240_000,
);
