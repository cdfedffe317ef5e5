// Where this run keeps the pools that tests copy; removed with the rest by `test/clean.cjs`.
import { join } from 'node:path';

export function templates(): string {
  const run = process.env['TRIVET_TEMPLATES'];
  if (run === undefined) throw new Error('the directory of this run is made by test/build.cjs');
  return join(run, 'harness');
}
