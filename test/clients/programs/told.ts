// Runs a program of the JavaScript SDK, and reads what it printed.
import { join } from 'node:path';
import type { TestPool } from '../../scenarios/pool.js';
import { runClient } from './run.js';

/** A key as `shown` of sdk.mjs shows it. */
export interface Shown {
  readonly name: string;
  readonly id: string;
  readonly type: string;
  readonly operations: readonly string[];
  readonly enabled: boolean;
  readonly tags?: Readonly<Record<string, string>>;
  readonly version: string;
  readonly recoveryLevel: string;
  readonly jwk: Readonly<Record<string, string>>;
}

/** As `failure` of sdk.mjs shows it. */
export interface Refused {
  readonly status?: number;
  readonly code?: string;
  readonly message: string;
}

/** What the chapters of a program told; `more` is for the program itself. */
export async function told<T>(
  pool: TestPool,
  program: string,
  chapters: readonly (keyof T)[],
  more: object = {},
): Promise<T> {
  const wish = { url: pool.uri.origin, readyFile: pool.readyFile, chapters, ...more };
  return JSON.parse(await runClient(pool, join(__dirname, program), [JSON.stringify(wish)])) as T;
}
