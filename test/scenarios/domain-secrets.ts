// What is secret in a security domain file, the data-wrapping key included, for tests that look where it must not be.
// They know it because they hold the custodians' keys; what the file is opened with here is not ours.
import { createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  itemKeyIndependently,
  joinIndependently,
  readFileIndependently,
  type KeyFiles,
} from '../security-domain/independent-reader.js';
import { custodians } from './ceremonies.js';
import type { Secret } from './scan.js';

const DOMAIN_ITEM = 'trivet_data_wrapping_key';
const TAGS = [DOMAIN_ITEM, 'trivet_internal_keys'];
const KEY_BYTES = 32;

export interface DomainSecrets {
  /** Of this one file: nobody needs them once it is made. */
  readonly passing: readonly Secret[];
  /** The data-wrapping key, which lives in the slots, and they in the memory of the instances. */
  readonly lasting: readonly Secret[];
}

/** The master key and the keys that follow from it. */
export function mastersOf(master: Buffer): Secret[] {
  const itemKeys = TAGS.map((tag) => ({ name: `key of ${tag}`, bytes: itemKeyIndependently(master, tag) }));
  return [{ name: 'master key', bytes: master }, ...itemKeys];
}

/** Everything secret in a security domain file. */
export function secretsOf(domain: string, pairs: readonly KeyFiles[]): DomainSecrets {
  const { master, shares } = joinIndependently(domain, pairs);
  const items = new Map(readFileIndependently(domain, pairs));
  const payload = Buffer.from(items.get(DOMAIN_ITEM) ?? '', 'hex');
  const wrappingKey = payload.subarray(0, KEY_BYTES);
  const key = unwrapped(payload);
  return {
    passing: [
      ...mastersOf(master),
      { name: 'wrapping key', bytes: wrappingKey },
      ...shares.map((bytes, place) => ({ name: `share ${place + 1}`, bytes })),
    ],
    lasting: [{ name: 'data-wrapping key', bytes: key }],
  };
}

/** The items of a security domain file with the data-wrapping key itself: in each file another key wraps it. */
export function itemsOf(domain: string, pairs: readonly KeyFiles[]): [tag: string, hex: string][] {
  return readFileIndependently(domain, pairs).map(([tag, hex]) => [
    tag,
    tag === DOMAIN_ITEM ? unwrapped(Buffer.from(hex, 'hex')).toString('hex') : hex,
  ]);
}

/** The data-wrapping key in an item: the wrapping key, then what it wraps. */
function unwrapped(payload: Buffer): Buffer {
  const wrappingKey = payload.subarray(0, KEY_BYTES);
  const opening = createDecipheriv('id-aes256-wrap-pad', wrappingKey, Buffer.from('a65959a6', 'hex'));
  const key = Buffer.concat([opening.update(payload.subarray(KEY_BYTES)), opening.final()]);
  if (key.length !== KEY_BYTES) throw new Error(`a data-wrapping key of ${key.length} bytes`);
  return key;
}

/** The key pairs that {@link custodians} finds in a directory. */
export function pairsIn(directory: string): KeyFiles[] {
  return custodians(directory, 3, 'cer').map((certificate) => ({
    certificate: readFileSync(certificate, 'latin1'),
    privateKey: readFileSync(certificate.replace(/cer$/, 'key'), 'latin1'),
  }));
}
