// The benchmark runs and says what it promises; the figures themselves are nobody's business here.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

interface Row {
  readonly operation: string;
  readonly perSecond: number;
}

interface Result {
  readonly addon: readonly Row[];
  readonly rest: readonly Row[];
  readonly durable: { readonly perSecond: Record<string, number>; readonly fsyncMicroseconds: number };
  readonly start: readonly number[];
}

test('the quick form prints its figures as JSON and writes them as JSON and Markdown', async () => {
  const out = mkdtempSync(join(tmpdir(), 'trivet-bench-'));
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(__dirname, 'bench.cjs'), '--quick', '--json', '--out', out],
      { timeout: 110_000 },
    );
    const result = JSON.parse(stdout) as Result;
    const named = (rows: readonly Row[]) => new Set(rows.map(({ operation }) => operation));
    expect(named(result.addon)).toEqual(
      new Set([
        ...['es256 sync', 'es256 async 1', 'es256 async 16'],
        ...['rs256 sync', 'rs256 async 1', 'rs256 async 16'],
        ...['a256gcm sync', 'hs256 sync'],
      ]),
    );
    expect(named(result.rest)).toEqual(new Set(['echo', 'ES256', 'RS256', 'A256GCM', 'get']));
    const figures = [
      ...[...result.addon, ...result.rest].map(({ perSecond }) => perSecond),
      ...Object.values(result.durable.perSecond),
      ...result.start,
      result.durable.fsyncMicroseconds,
    ];
    expect(figures.filter((figure) => !(figure > 0))).toEqual([]);
    expect(JSON.parse(readFileSync(join(out, 'benchmark.json'), 'utf8'))).toEqual(result);
    expect(readFileSync(join(out, 'benchmark.md'), 'utf8')).toMatch(/^# Benchmark/);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}, 120_000);
