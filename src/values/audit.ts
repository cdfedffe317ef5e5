// The audit log as it lies on the disk: JSON lines, each with a number and the hash of the line before it; among them
// statements that the partition has signed. An instance writes it, `trivet audit` reads it. Knows no file and no key.
import { hash } from 'node:crypto';
import * as z from 'zod';

/** Version of what is described here. */
export const AUDIT_FORMAT = 1;
/** What the first line of a log names as the hash of the line before it. */
export const AUDIT_START = '0'.repeat(64);

/** What a line is. */
export type AuditCategory =
  /** A request, or something that happened to the instance. */
  | 'AuditEvent'
  /** The instance begins to write: who it is, and what its last run left torn. */
  | 'AuditOpened'
  /** The partition has signed the hash of an earlier line. */
  | 'AuditSeal'
  /** Another member's seal, kept here: that member's log can then not be cut before it without being found out. */
  | 'AuditWitness';

/** Where a log stands: number and hash of its last line. */
export interface AuditHead {
  readonly sequence: number;
  /** SHA-256, lower-case hex. */
  readonly hash: string;
}

/** The partition's word on a log: line `through` has this hash. */
export interface AuditSeal {
  readonly through: number;
  readonly hash: string;
  /** ISO 8601, by the machine's clock. */
  readonly time: string;
  /** RSASSA-PKCS1-v1_5 with SHA-256 over {@link sealStatement}, base64url. */
  readonly signature: string;
}

/** The end of a file that has no line feed: the process or the machine died while it was written. */
export interface TornEnd {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Files of a log, in order: their numbers count from 1 without gaps. */
export function auditFileName(number: number): string {
  return `${String(number).padStart(8, '0')}.jsonl`;
}

/** The number of a file of a log; undefined for any other file. */
export function auditFileNumber(name: string): number | undefined {
  const [, digits] = /^([0-9]{8})\.jsonl$/.exec(name) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** Hash of a line, without its line feed. */
export function auditHash(line: string | Uint8Array): string {
  return hash('sha256', line, 'hex');
}

/** A line: its place in the chain, then its own members as JSON without braces. */
export function auditLine(sequence: number, previous: string, members: string): string {
  return `{"sequence":${sequence},"previous":"${previous}",${members}}`;
}

/** What the partition signs. It does not begin with a zero octet, as its statements on keys do. */
export function sealStatement(
  pool: string,
  instance: number,
  { through, hash: sealed, time }: Omit<AuditSeal, 'signature'>,
): Buffer {
  return Buffer.from(
    `trivet audit seal ${AUDIT_FORMAT}\n${pool}\n${instance}\n${through}\n${sealed}\n${time}\n`,
  );
}

/** The members of a seal's line. One seal has one spelling, so nothing can be hidden in a line that is last. */
export function sealMembers({ through, hash: sealed, time, signature }: AuditSeal): string {
  return membersOf('AuditSeal', { through, hash: sealed, time, signature });
}

/** The members of a line that keeps the seal of another member. */
export function witnessMembers(instance: number, seal: AuditSeal, time: string): string {
  return membersOf('AuditWitness', { time, instance, seal });
}

/** The members of a line of any kind but requests, which are written by hand since there are so many. */
export function membersOf(category: AuditCategory, members: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ category, ...members }).slice(1, -1);
}

const hex = z.string().regex(/^[0-9a-f]{64}$/);
const time = z.iso.datetime();
const count = z.int().min(1);

/** A seal as it comes from elsewhere. */
export const auditSealShape = z.strictObject({
  through: count,
  hash: hex,
  time,
  // RSA of 2048 bits: 256 octets, of whose last digit two bits are zero.
  signature: z.string().regex(/^[A-Za-z0-9_-]{341}[AQgw]$/),
});

const place = { sequence: count, previous: hex, time };

/** A line as it is read. Of requests nothing but the place is checked: the rest is for whoever reads the log. */
export const auditLineShape = z.discriminatedUnion('category', [
  z.looseObject({ ...place, category: z.literal('AuditEvent') }),
  z.looseObject({
    ...place,
    category: z.literal('AuditOpened'),
    format: z.literal(AUDIT_FORMAT),
    pool: z.string(),
    instance: z.int(),
    /** PEM: the partition's, then the owner's. */
    certificates: z.string(),
    torn: z.array(z.strictObject({ file: z.string(), bytes: count, sha256: hex })),
  }),
  z.strictObject({ ...place, category: z.literal('AuditSeal'), ...auditSealShape.shape }),
  z.strictObject({
    ...place,
    category: z.literal('AuditWitness'),
    instance: z.int().min(0).max(9),
    seal: auditSealShape,
  }),
]);

export type AuditLine = z.infer<typeof auditLineShape>;
