// The benchmark of kills runs and says what it promises; the figures themselves are nobody's business here.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

interface Result {
  readonly rows: readonly {
    readonly pool: string;
    readonly killed: string;
    readonly write: number;
    readonly whole: number;
    readonly signs: number;
  }[];
}

test('the quick form kills the primary and another of two pools, and prints what it cost', async () => {
  const out = mkdtempSync(join(tmpdir(), 'trivet-failover-out-'));
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(__dirname, 'failover.cjs'), '--quick', '--json', '--out', out],
      { timeout: 170_000 },
    );
    const { rows } = JSON.parse(stdout) as Result;
    expect(rows.map(({ pool, killed }) => `${pool}: ${killed}`)).toEqual([
      'empty: the primary',
      'empty: another',
      'many: the primary',
      'many: another',
    ]);
    const figures = rows.flatMap(({ write, whole, signs }) => [write, whole, signs]);
    expect(figures.filter((figure) => !(figure > 0))).toEqual([]);
    expect(JSON.parse(readFileSync(join(out, 'failover.json'), 'utf8'))).toMatchObject({ rows });
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}, 180_000);
