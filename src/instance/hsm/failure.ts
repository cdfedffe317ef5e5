// The ways in which a verb fails, as one closed set of codes for whoever answers the client.
import { RefusedError, type RefusalCode } from '../model/refusal.js';
import { SecurityDomainError } from '../../security-domain/problem.js';
import { SlotError } from '../partition/slot-error.js';
import { Outage, type OutageCode } from './outage.js';

export type FailureCode = RefusalCode | OutageCode | SlotError['code'];

export interface Failure {
  readonly code: FailureCode;
  /** Words that may be shown to the caller; for outages they say why. */
  readonly detail: string;
}

/** The failure behind an error thrown by a verb; undefined for anything unexpected. */
export function failureOf(error: unknown): Failure | undefined {
  if (error instanceof RefusedError) return error.refusal;
  if (error instanceof Outage) return { code: error.code, detail: error.message };
  // What the slot said stays in the log: of a ciphertext that does not open, the caller learns just that.
  if (error instanceof SlotError) return { code: error.code, detail: '' };
  // Its words are made for who handed it in.
  if (error instanceof SecurityDomainError) return { code: 'BadParameter', detail: error.message };
  return undefined;
}

/** Whether a slot did not do its work, perhaps this instance's own. */
export function isOfSlot(error: unknown): boolean {
  const code = failureOf(error)?.code;
  return code === 'SlotFailed' || code === 'BlobUnreadable';
}
