// What can be measured, and what came of it. Pure.
import type { PoolOptions } from '../plane.js';

export const OPERATIONS = ['get', 'ES256', 'PS256', 'A256GCM', 'verify', 'create'] as const;
export type Operation = (typeof OPERATIONS)[number];

export interface BenchOptions extends PoolOptions {
  operations: readonly Operation[];
  clients: number;
  /** For each operation. */
  seconds: number;
}

export interface Result {
  readonly operation: Operation;
  readonly count: number;
  readonly perSecond: number;
  /** Milliseconds; 0 when nothing came to its end. */
  readonly p50: number;
  readonly p99: number;
  /** What was not answered, or with a refusal. */
  readonly failed: number;
}

/** From how long each took, in milliseconds. */
export function resultOf(
  operation: Operation,
  tookMs: readonly number[],
  failed: number,
  seconds: number,
): Result {
  const sorted = [...tookMs].sort((a, b) => a - b);
  const at = (share: number): number => rounded(sorted[Math.ceil(share * sorted.length) - 1] ?? 0);
  return {
    operation,
    count: sorted.length,
    perSecond: rounded(sorted.length / seconds),
    p50: at(0.5),
    p99: at(0.99),
    failed,
  };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
