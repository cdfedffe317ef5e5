// What rules make of a request, a call of the slot, a link or a disk: judged from the rules, the time that is given and
// dice of its own. Pure: the same seed and the same questions at the same times give the same answers. Knows no timer
// and no request.
//
// A request meets the rules in this order: throttles, then latencies, which add up, then errors, of which the first
// counts. Each rule throws dice of its own, so that what one rule is asked changes nothing for another.
import type { FaultRule, FaultSettings, HttpError, Latency, RequestRule } from '../../values/faults.js';
import { LATENCY_MS_MAX } from '../../values/faults.js';
import type { KeySpec } from '../../values/key-spec.js';
import type { OperationName } from '../../values/operations.js';
import { publishedLane } from './published.js';

/** What is answered instead of the operation. */
export interface FaultAnswer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** Seconds. */
  readonly retryAfter?: number;
}

export interface RequestVerdict {
  /** Before anything else is done. */
  readonly delayMs: number;
  readonly answer?: FaultAnswer;
}

export interface LinkVerdict {
  readonly cut: boolean;
  readonly delayMs: number;
}

/** 0..1, the latter not included. */
export type Dice = () => number;

/** A generator of 32 bits of state (mulberry32): small, quick, and good enough for chance. */
export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A latency by chance, in milliseconds. */
export function sampleMs(latency: Latency, dice: Dice): number {
  return Math.min(LATENCY_MS_MAX, Math.max(0, sample(latency, dice)));
}

function sample(latency: Latency, dice: Dice): number {
  switch (latency.kind) {
    case 'constant':
      return latency.ms;
    case 'uniform':
      return latency.minMs + dice() * (latency.maxMs - latency.minMs);
    case 'normal': {
      // Box and Muller; 1 - dice() is never 0.
      const normal = Math.sqrt(-2 * Math.log(1 - dice())) * Math.cos(2 * Math.PI * dice());
      return latency.meanMs + normal * latency.deviationMs;
    }
    case 'exponential':
      return -Math.log(1 - dice()) * latency.meanMs;
  }
}

/** As many requests as have room: a bucket that fills at `perSecond` and holds as many, one at least. */
class Bucket {
  readonly #size: number;
  #level: number;
  #atMs: number | undefined;

  constructor(readonly perSecond: number) {
    this.#size = Math.max(1, perSecond);
    this.#level = this.#size;
  }

  takes(nowMs: number): boolean {
    const elapsed = this.#atMs === undefined ? 0 : Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#level = Math.min(this.#size, this.#level + (elapsed / 1_000) * this.perSecond);
    if (this.#level < 1) return false;
    this.#level -= 1;
    return true;
  }
}

interface Ready {
  readonly rule: RequestRule;
  readonly dice: Dice;
  readonly bucket: Bucket | undefined;
}

const isRequestRule = (rule: FaultRule): rule is RequestRule =>
  !('link' in rule) && !('fullDisk' in rule) && !('performance' in rule);

/** The rules as one instance meets them. */
export class FaultJudge {
  readonly #instance: number;
  readonly #rules: readonly FaultRule[];
  readonly #ready: readonly Ready[];
  readonly #paced: boolean;
  /** When each lane is free again, in milliseconds. */
  readonly #lanes = new Map<string, number>();

  constructor({ rules, seed }: FaultSettings, instance: number) {
    this.#instance = instance;
    this.#rules = rules;
    this.#paced = rules.some((rule) => 'performance' in rule);
    this.#ready = rules.flatMap((rule, place) =>
      isRequestRule(rule) && rule.partitions?.includes(instance) !== false
        ? [
            {
              rule,
              // Primes apart: neighbours among seeds, instances and rules throw nothing alike.
              dice: diceOf(seed + 0x9e3779b1 * (place + 1) + 0x85ebca6b * (instance + 1)),
              bucket: rule.throttle && new Bucket(rule.throttle.perSecond),
            },
          ]
        : [],
    );
  }

  /** `spec`: of the key that the request is about, asked for only where it matters. */
  request(operation: OperationName, spec: () => KeySpec | undefined, nowMs: number): RequestVerdict {
    const fitting = this.#ready.filter(({ rule }) => rule.operations?.includes(operation) !== false);
    for (const { rule, bucket } of fitting) {
      if (bucket?.takes(nowMs) === false) return { delayMs: 0, answer: throttled(rule) };
    }
    let delayMs = 0;
    for (const { rule, dice } of fitting) if (rule.latency) delayMs += sampleMs(rule.latency, dice);
    delayMs = Math.min(delayMs, LATENCY_MS_MAX);
    for (const { rule, dice } of fitting) {
      const { error } = rule;
      if (error && 'status' in error && dice() < error.rate) return { delayMs, answer: answerOf(error) };
    }
    return { delayMs: delayMs + this.#paceMs(operation, spec, nowMs + delayMs) };
  }

  /** The return code that a call of the slot gets; undefined: it does its work. `operation`: for which, if for any. */
  slot(operation: OperationName | undefined): string | undefined {
    for (const { rule, dice } of this.#ready) {
      const { error, operations } = rule;
      if (!error || !('pkcs11' in error)) continue;
      if (operations && (operation === undefined || !operations.includes(operation))) continue;
      if (dice() < error.rate) return error.pkcs11;
    }
    return undefined;
  }

  /** Of the link to another member. */
  link(member: number): LinkVerdict {
    let verdict: LinkVerdict = { cut: false, delayMs: 0 };
    for (const rule of this.#rules) {
      if (!('link' in rule)) continue;
      const { between, cut = false, delayMs = 0 } = rule.link;
      if (!between.includes(this.#instance) || !between.includes(member)) continue;
      verdict = { cut: verdict.cut || cut, delayMs: Math.min(LATENCY_MS_MAX, verdict.delayMs + delayMs) };
    }
    return verdict;
  }

  get diskFull(): boolean {
    return this.#rules.some(
      (rule) => 'fullDisk' in rule && rule.fullDisk.partitions.includes(this.#instance),
    );
  }

  // Each operation holds its lane for as long as the service would; the next waits for that.
  #paceMs(operation: OperationName, spec: () => KeySpec | undefined, nowMs: number): number {
    const lane = this.#paced ? publishedLane(operation, spec) : undefined;
    if (!lane) return 0;
    const begins = Math.max(nowMs, this.#lanes.get(lane.name) ?? 0);
    this.#lanes.set(lane.name, begins + 1_000 / lane.perSecond);
    return begins - nowMs;
  }
}

function throttled({ throttle }: RequestRule): FaultAnswer {
  return {
    status: 429,
    code: 'Throttled',
    message: 'Request was not processed because too many requests were received',
    ...(throttle && { retryAfter: throttle.retryAfterSeconds }),
  };
}

const CODES: Readonly<Record<number, string>> = {
  400: 'BadParameter',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  408: 'RequestTimeout',
  409: 'Conflict',
  429: 'Throttled',
  503: 'ServiceUnavailable',
};

function answerOf({ status, code, message, retryAfterSeconds }: HttpError): FaultAnswer {
  return {
    status,
    code: code ?? CODES[status] ?? (status < 500 ? 'BadParameter' : 'InternalError'),
    message: message ?? 'A fault that was asked for',
    ...(retryAfterSeconds !== undefined && { retryAfter: retryAfterSeconds }),
  };
}
