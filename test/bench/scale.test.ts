// The pool of many keys is a pool like any other, and the benchmark says what it promises; the figures are nobody's
// business here.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

interface Figures {
  readonly p50: number;
  readonly perSecond: number;
}

interface Result {
  readonly rows: readonly { readonly operation: string; readonly few: Figures; readonly many: Figures }[];
  readonly start: Record<'few' | 'many', Record<'warm' | 'cold', readonly number[]>>;
}

test('the quick form fills two pools, which then start and answer, and prints the figures of both', async () => {
  const out = mkdtempSync(join(tmpdir(), 'trivet-scale-out-'));
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(__dirname, 'scale.cjs'), '--quick', '--json', '--out', out],
      { timeout: 170_000 },
    );
    const { rows, start } = JSON.parse(stdout) as Result;
    const verbs = new Set(rows.map(({ operation }) => operation.split(',')[0]));
    expect([...verbs].sort()).toEqual(
      ['A256GCM encrypt', 'ES256 sign', 'create a version', 'get', 'list keys', 'list versions'].sort(),
    );
    const figures = rows.flatMap(({ few, many }) => [few.p50, few.perSecond, many.p50, many.perSecond]);
    const starts = Object.values(start).flatMap(({ warm, cold }) => [...warm, ...cold]);
    expect([...figures, ...starts].filter((figure) => !(figure > 0))).toEqual([]);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}, 180_000);
