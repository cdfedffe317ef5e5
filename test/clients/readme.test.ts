// The first five minutes of the README, run as they stand there.
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestPool } from '../scenarios/pool.js';
import { runClient } from './programs/run.js';

const root = join(__dirname, '../..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const FIRST_LINE = '// first-signature.mjs\n';

function program(): string {
  const blocks = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code ?? '');
  const found = blocks.filter((code) => code.startsWith(FIRST_LINE));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  throw new Error(`README.md must have one \`\`\`js block that starts with "${FIRST_LINE.trim()}"`);
}

let pool: TestPool;
beforeAll(async () => {
  pool = await TestPool.start();
});
afterAll(() => pool.remove());

it('README: the program is there once, with the command that runs it', () => {
  expect(program()).toContain('@azure/keyvault-keys');
  expect(readme).toMatch(/^READY_FILE=\S+ NODE_EXTRA_CA_CERTS=\S+ node first-signature\.mjs\b/m);
});

it('README: the program prints true, twice', async () => {
  // A project with the two packages: this one's.
  const project = join(pool.home, 'project');
  mkdirSync(project);
  symlinkSync(join(root, 'node_modules'), join(project, 'node_modules'));
  const file = join(project, 'first-signature.mjs');
  writeFileSync(file, program());
  for (let run = 0; run < 2; run += 1) {
    const printed = await runClient(pool, file, [], {
      env: { READY_FILE: pool.readyFile },
      resolvePool: false,
    });
    expect(printed).toBe('true\n');
  }
});
