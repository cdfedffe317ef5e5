// Brings dist/ up to date before the tests, unless the caller has just built it. Makes the place for what they share.
const { execFileSync, spawnSync } = require('node:child_process');
const { mkdtempSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

module.exports = () => {
  process.env.TRIVET_TEMPLATES = mkdtempSync(join(tmpdir(), 'trivet-templates-'));
  if (process.env.TRIVET_BUILT) return;
  const root = join(__dirname, '..');
  const compiler = require.resolve('typescript/bin/tsc');
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', root], { encoding: 'utf8' });
  if (status !== 0) console.error(stdout);
  execFileSync(process.execPath, [join(root, 'scripts/bundle')]);
};
