// Faults on request, as they are asked for: what a pool that was made with --faults is to suffer. Shapes and their
// check; what comes of them is judged in instance/faults. Knows no process and no request.
import * as z from 'zod';
import { operationNames, type OperationName } from './operations.js';

/** Milliseconds, never above {@link LATENCY_MS_MAX}: longer samples of the last two are cut to it, negative ones to 0. */
export type Latency =
  | { readonly kind: 'constant'; readonly ms: number }
  | { readonly kind: 'uniform'; readonly minMs: number; readonly maxMs: number }
  | { readonly kind: 'normal'; readonly meanMs: number; readonly deviationMs: number }
  | { readonly kind: 'exponential'; readonly meanMs: number };

/** Instead of the operation. */
export interface HttpError {
  /** 0..1: how many of the requests, by chance. */
  readonly rate: number;
  /** 400..599. */
  readonly status: number;
  /** `error.code`; one that fits the status when absent. */
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  /** `Retry-After`; none when absent. */
  readonly retryAfterSeconds?: number | undefined;
}

/** Said by the slot instead of doing its work; what becomes of it is the product's own affair. */
export interface SlotFault {
  /** 0..1: how many of the calls of the slot, by chance. */
  readonly rate: number;
  /** A return code of PKCS #11, such as `CKR_DEVICE_ERROR`. */
  readonly pkcs11: string;
}

/** More requests than that are answered with 429, by each instance for itself. */
export interface Throttle {
  /** As many may also come at once. */
  readonly perSecond: number;
  readonly retryAfterSeconds: number;
}

/** For requests: those of the named operations at the named partitions; of all when absent. */
export interface RequestRule {
  readonly operations?: readonly OperationName[] | undefined;
  readonly partitions?: readonly number[] | undefined;
  readonly latency?: Latency | undefined;
  readonly error?: HttpError | SlotFault | undefined;
  readonly throttle?: Throttle | undefined;
}

/** For the link of two partitions. */
export interface LinkRule {
  readonly link: {
    readonly between: readonly [number, number];
    /** There is no link, and none can be made. */
    readonly cut?: boolean | undefined;
    /** What is sent arrives so much later, in both directions. */
    readonly delayMs?: number | undefined;
  };
}

/** Store and audit log of these partitions find no room on the disk. */
export interface FullDiskRule {
  readonly fullDisk: { readonly partitions: readonly number[] };
}

/** Operations are no quicker than the published figures of the service. */
export interface PerformanceRule {
  readonly performance: 'published';
}

export type FaultRule = RequestRule | LinkRule | FullDiskRule | PerformanceRule;

/** Everything that a pool suffers now. */
export interface FaultSettings {
  readonly rules: readonly FaultRule[];
  /** Of the dice; with the same one the same requests in the same order suffer the same. 0..2^32-1. */
  readonly seed: number;
}

/** The how manieth settings of this pool since its fabric runs. */
export interface OrderedFaults extends FaultSettings {
  readonly order: number;
}

export const LATENCY_MS_MAX = 60_000;
const RULES_MAX = 100;
const SEED_MAX = 2 ** 32 - 1;

const ms = z.number().min(0).max(LATENCY_MS_MAX);
const rate = z.number().min(0).max(1);
const partition = z.int().min(0).max(2);
const partitions = z.array(partition).min(1).max(3);
/** Without those that no request gets as far as to be judged as. */
const operation = z.enum(operationNames).exclude(['Authentication', 'Unknown', 'ApiDescriptionGet']);
const retryAfterSeconds = z.int().min(0).max(3_600);

const latencyShape = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('constant'), ms }),
  z
    .strictObject({ kind: z.literal('uniform'), minMs: ms, maxMs: ms })
    .refine(({ minMs, maxMs }) => minMs <= maxMs, { path: ['maxMs'], message: 'must not be below minMs' }),
  z.strictObject({ kind: z.literal('normal'), meanMs: ms, deviationMs: ms }),
  z.strictObject({ kind: z.literal('exponential'), meanMs: ms }),
]);

const httpErrorShape = z.strictObject({
  rate,
  status: z.int().min(400).max(599),
  code: z.string().min(1).max(100).optional(),
  message: z.string().max(500).optional(),
  retryAfterSeconds: retryAfterSeconds.optional(),
});

/** The return codes of PKCS #11 that stand for a failure, without those that only a wrong caller gets. */
export const slotFaultCodes = [
  'CKR_HOST_MEMORY',
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_ARGUMENTS_BAD',
  'CKR_ATTRIBUTE_VALUE_INVALID',
  'CKR_DATA_INVALID',
  'CKR_DATA_LEN_RANGE',
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_MEMORY',
  'CKR_DEVICE_REMOVED',
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
  'CKR_AEAD_DECRYPT_FAILED',
  'CKR_FUNCTION_CANCELED',
  'CKR_FUNCTION_NOT_SUPPORTED',
  'CKR_FUNCTION_REJECTED',
  'CKR_KEY_HANDLE_INVALID',
  'CKR_KEY_SIZE_RANGE',
  'CKR_KEY_TYPE_INCONSISTENT',
  'CKR_KEY_FUNCTION_NOT_PERMITTED',
  'CKR_KEY_NOT_WRAPPABLE',
  'CKR_KEY_UNEXTRACTABLE',
  'CKR_KEY_EXHAUSTED',
  'CKR_MECHANISM_INVALID',
  'CKR_MECHANISM_PARAM_INVALID',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_OPERATION_ACTIVE',
  'CKR_OPERATION_NOT_INITIALIZED',
  'CKR_PIN_EXPIRED',
  'CKR_PIN_LOCKED',
  'CKR_SESSION_CLOSED',
  'CKR_SESSION_COUNT',
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_TEMPLATE_INCONSISTENT',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_RESOURCE_EXCEEDED',
  'CKR_TOKEN_WRITE_PROTECTED',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_FIPS_SELF_TEST_FAILED',
] as const;

const slotFaultShape = z.strictObject({ rate, pkcs11: z.enum(slotFaultCodes) });

const throttleShape = z.strictObject({
  perSecond: z.number().gt(0).max(100_000),
  retryAfterSeconds: retryAfterSeconds.default(1),
});

const requestRuleShape = z
  .strictObject({
    operations: z.array(operation).min(1).optional(),
    partitions: partitions.optional(),
    latency: latencyShape.optional(),
    error: z.unknown().optional(),
    throttle: throttleShape.optional(),
  })
  .refine(({ latency, error, throttle }) => latency ?? error ?? throttle, {
    message: 'a rule has a latency, an error, a throttle, a link, a fullDisk or a performance',
  });

const linkRuleShape = z.strictObject({
  link: z
    .strictObject({
      between: z
        .tuple([partition, partition])
        .refine(([one, other]) => one !== other, { message: 'a link is between two' }),
      cut: z.boolean().optional(),
      delayMs: ms.optional(),
    })
    .refine(({ cut, delayMs }) => cut ?? delayMs, { message: 'a link is cut, or has a delayMs' }),
});

const fullDiskRuleShape = z.strictObject({ fullDisk: z.strictObject({ partitions }) });
const performanceRuleShape = z.strictObject({ performance: z.literal('published') });

const settingsShape = z.strictObject({
  rules: z.array(z.looseObject({})).max(RULES_MAX),
  seed: z.int().min(0).max(SEED_MAX).optional(),
});

/** Settings that were written wrong; the message names the member, as in `rules.0.latency.ms`. */
export class FaultsMalformed extends Error {
  override readonly name = 'FaultsMalformed';
}

/**
 * Reads settings as somebody has written them. `newSeed`: one to take when none is given.
 * @throws FaultsMalformed
 */
export function readFaults(written: unknown, newSeed: () => number): FaultSettings {
  const { rules, seed } = read(settingsShape, written, []);
  return { rules: rules.map((rule, place) => readRule(rule, ['rules', place])), seed: seed ?? newSeed() };
}

// By the member that tells the kind, so that what is wrong is said of the kind that was meant.
function readRule(rule: Record<string, unknown>, path: readonly PropertyKey[]): FaultRule {
  if ('link' in rule) return read(linkRuleShape, rule, path);
  if ('fullDisk' in rule) return read(fullDiskRuleShape, rule, path);
  if ('performance' in rule) return read(performanceRuleShape, rule, path);
  const { error, ...rest } = read(requestRuleShape, rule, path);
  if (error === undefined) return rest;
  const ofSlot = typeof error === 'object' && error !== null && 'pkcs11' in error;
  const at = [...path, 'error'];
  return { ...rest, error: ofSlot ? read(slotFaultShape, error, at) : read(httpErrorShape, error, at) };
}

function read<T>(shape: z.ZodType<T>, written: unknown, path: readonly PropertyKey[]): T {
  const found = shape.safeParse(written);
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  const where = [...path, ...(issue?.path ?? [])].map(String).join('.');
  throw new FaultsMalformed(`${where === '' ? 'the faults' : where}: ${issue?.message ?? 'invalid'}`);
}
