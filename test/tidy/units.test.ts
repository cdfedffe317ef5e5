// The systemd unit is one that systemd understands, and it starts what there is.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '../..');
const unit = readFileSync(join(root, 'deploy/trivet.service'), 'utf8');

/** What systemd says of a unit that starts this checkout with this Node.js. */
function verified(text: string): { status: number | null; words: string } {
  const home = mkdtempSync(join(tmpdir(), 'trivet-unit-'));
  try {
    const file = join(home, 'trivet.service');
    writeFileSync(file, text.replaceAll('/opt/trivet', root).replaceAll('/usr/bin/node', process.execPath));
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
    return { status, words: `${stdout}${stderr}` };
  } finally {
    rmSync(home, { recursive: true });
  }
}

test('the unit: systemd finds nothing wrong with it, and would find it', () => {
  expect(verified(unit)).toEqual({ status: 0, words: '' });
  expect(verified(unit.replace('KillMode=mixed', 'KillMode=some')).words).toMatch(/kill mode specification/);
});

test('the unit: what it names is there', () => {
  const [, program = ''] = /^ExecStart=\S+ \/opt\/trivet\/(\S+) up /m.exec(unit) ?? [];
  expect(existsSync(join(root, program))).toBe(true);
  const [, page = ''] = /^Documentation=file:\/\/\/opt\/trivet\/(\S+)$/m.exec(unit) ?? [];
  expect(existsSync(join(root, page))).toBe(true);
});
